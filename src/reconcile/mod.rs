//! Which processes are lost: the external tasks that the bridge has locked, compared with what the queues, the worker
//! and the targets have. A task that nobody has can be unlocked, so that the bridge fetches and publishes it again; the
//! worker's look-up then finds what is there, and creates only what is not.
//!
//! `queues` looks at the messages, `hands` hears the worker, [`mod@class`] is the table of what follows, `repair`
//! unlocks and looks again, and `report` tells. What the worker has taken is told by whoever asks: the command through
//! the API, the API from the lanes. It does not know how its report is shown.
//!
//! A message that moves while it is looked for must not seem lost: the queues are looked at twice, in the order in
//! which messages move, the worker is asked before, in between and after, and in the end the engine is asked once more.

pub mod class;
mod hands;
mod queues;
mod repair;
mod report;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, TimeDelta, Utc};

use self::class::{Class, EngineSays, Facts, Sight, TargetSays, class};
use self::hands::Hands;
pub use self::hands::Told;
use self::queues::{Place, Places};
pub use self::report::{Action, Counts, Item, Report};
use crate::camunda::Engine;
use crate::camunda::tasks::{ExternalTask, Locked};
use crate::config::Config;
use crate::message::{Task, now};
use crate::stop::Stop;
use crate::systems::routing::Routes;
use crate::systems::seen::{Looked, NOT_LOOKED_UP, Seen, State};
use crate::systems::table::DEFAULT;
use crate::trace::Target;
use crate::trace::facts::Role;

/// Tasks in one answer of the engine.
const PAGE: usize = 500;
/// Tasks in one look-up at a target.
const CHUNK: usize = 50;
/// Tasks for which no process waits that are asked for one by one.
const MOST_ORPHANS: usize = 1000;

/// Who is asked.
pub struct Sources {
    /// The queues and the broker.
    pub config: Config,
    /// The target of every system that is on.
    pub targets: Vec<Target>,
    /// Which system each topic belongs to.
    pub routes: Routes,
    /// The engine.
    pub engine: Arc<Engine>,
    /// Ends every wait.
    pub stop: Stop,
}

/// How it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Younger tasks are left alone.
    pub older_than: Duration,
    /// Unlock what an unlock mends.
    pub repair: bool,
    /// Tasks to unlock at most.
    pub limit: usize,
    /// Between two unlocks.
    pub pause: Duration,
    /// Between two looks at the queues.
    pub between: Duration,
    /// For the end of somebody else's browse of a queue, or of a replay.
    pub browse: Duration,
    /// Until it is said whether an unlocked task has healed.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            older_than: Duration::from_secs(30 * 60),
            repair: false,
            limit: 100,
            pause: Duration::from_secs(1),
            between: Duration::from_secs(3),
            browse: Duration::from_secs(120),
            patience: Duration::from_secs(120),
        }
    }
}

/// Compares, and repairs if it is asked to. `ask` asks the running worker which tasks it has; `audit` hears a line of
/// each task that is unlocked.
///
/// # Errors
/// The engine does not answer, nobody says under which id the bridge locks tasks, or the stop signal came.
pub fn reconcile(
    sources: &Sources,
    options: &Options,
    ask: &dyn Fn() -> Told,
    audit: &dyn Fn(&str),
) -> anyhow::Result<Report> {
    let mut look = Look { sources, options, ask, hands: Hands::default(), now: Utc::now() };
    let first = look.queues()?;
    let waiting = look.waiting(&first)?;
    let mut suspects = look.suspects(&waiting, &first);
    let orphans = look.orphans(&waiting, &first)?;
    let is_missing = |suspect: &Suspect| !first.found.contains_key(&suspect.id);
    let second = match suspects.iter().any(is_missing) || !orphans.is_empty() {
        true => {
            look.pause(options.between)?;
            look.queues()?
        }
        // What is parked need not be looked for again.
        false => Places::default(),
    };
    suspects.extend(orphans);
    look.place(&mut suspects, [&first, &second]);
    look.ask_targets(&mut suspects)?;
    look.ask_engine_again(&mut suspects)?;
    let mut report = look.report(&waiting, &suspects, [&first, &second]);
    if options.repair {
        repair::repair(&look, &mut report, &suspects, audit)?;
    }
    Ok(report)
}

/// One comparison.
struct Look<'a> {
    sources: &'a Sources,
    options: &'a Options,
    ask: &'a dyn Fn() -> Told,
    hands: Hands,
    now: DateTime<Utc>,
}

/// A task that needs a closer look.
struct Suspect {
    id: String,
    /// Whose it is.
    system: String,
    age: Duration,
    /// As the engine has listed it; `None`: the engine says that it is over.
    task: Option<ExternalTask>,
    place: Option<Place>,
    seen: Option<Seen>,
    /// Why its target says nothing.
    failure: Option<String>,
    facts: Facts,
}

impl Look<'_> {
    fn queues(&mut self) -> anyhow::Result<Places> {
        let (ask, hands) = (self.ask, &mut self.hands);
        let places = queues::look(self.sources, self.options.browse, || hands.hear(ask()));
        // After an interrupt not all was looked at.
        self.pause(Duration::ZERO)?;
        Ok(places)
    }

    fn pause(&self, pause: Duration) -> anyhow::Result<()> {
        if self.sources.stop.pause(pause) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// All tasks that the bridge has locked and that belong to systems that are on, with their systems.
    fn waiting(&self, places: &Places) -> anyhow::Result<HashMap<String, (String, ExternalTask)>> {
        let configured = self.sources.config.camunda.as_ref().map(|camunda| camunda.worker_ids()).unwrap_or_default();
        let ids: Vec<String> = match configured {
            [] => places.worker_ids.iter().cloned().collect(),
            ids => ids.to_vec(),
        };
        if ids.is_empty() {
            bail!(
                "it is not known under which id the bridge locks tasks, and no message names it: set CAMUNDA_WORKER_ID, \
                 such as CAMUNDA_WORKER_ID=universal-worker"
            );
        }
        let mut waiting = HashMap::new();
        for worker_id in ids {
            let which = Locked { worker_id };
            for first in (0..).step_by(PAGE) {
                let page = self.sources.engine.locked_tasks(&which, first, PAGE).context("Camunda")?;
                let is_last = page.len() < PAGE;
                let ours = page.into_iter().filter_map(|task| Some((self.system_of(&task)?, task)));
                waiting.extend(ours.map(|(system, task)| (task.id.clone(), (system, task))));
                if is_last {
                    break;
                }
                self.pause(Duration::ZERO)?;
            }
        }
        Ok(waiting)
    }

    /// The system that is on and has this topic; else the default one, if that is on.
    fn system_of(&self, task: &ExternalTask) -> Option<String> {
        let topic = task.topic.clone().unwrap_or_default();
        let task = Task { topic, ..Task::of_id(&task.id) };
        let is_on = |name: &str| self.sources.targets.iter().any(|target| target.system == name);
        match self.sources.routes.system_of(&task) {
            Some(route) => Some(route.name).filter(|name| is_on(name)),
            None => Some(DEFAULT).filter(|name| is_on(name)),
        }
        .map(str::to_owned)
    }

    /// Tasks that are old enough and that the first look has not found, or has found parked.
    fn suspects(&self, waiting: &HashMap<String, (String, ExternalTask)>, places: &Places) -> Vec<Suspect> {
        let unfound = waiting.iter().filter(|(id, _)| {
            !self.hands.tasks.contains(*id) && places.found.get(*id).is_none_or(|place| place.role == Role::Errors)
        });
        let suspects = unfound.map(|(id, (system, task))| self.suspect(id, system, self.age(task), Some(task.clone())));
        suspects.filter(|suspect| suspect.age >= self.least_age(&suspect.system)).collect()
    }

    fn suspect(&self, id: &str, system: &str, age: Duration, task: Option<ExternalTask>) -> Suspect {
        let facts = Facts {
            place: None,
            in_hand: false,
            sight: Sight::Whole,
            engine: if task.is_some() { EngineSays::Waits } else { EngineSays::Gone },
            target: TargetSays::NotAsked,
            just_changed: false,
            suspended: task.as_ref().is_some_and(|task| task.suspended),
        };
        Suspect { id: id.into(), system: system.into(), age, task, place: None, seen: None, failure: None, facts }
    }

    /// Since when the bridge has it: the lock's end, less its length.
    fn age(&self, task: &ExternalTask) -> Duration {
        let length = TimeDelta::from_std(self.sources.engine.lock_duration()).unwrap_or(TimeDelta::MAX);
        let since = task.locked_until.and_then(|until| until.checked_sub_signed(length));
        since.and_then(|since| (self.now - since).to_std().ok()).unwrap_or_default()
    }

    /// A created task may still be invisible for a while.
    fn least_age(&self, system: &str) -> Duration {
        let target = self.sources.targets.iter().find(|target| target.system == system);
        let visible = target.and_then(|target| target.handler.visible_within()).unwrap_or_default();
        self.options.older_than.max(visible)
    }

    /// Records of tasks for which no process waits any more.
    fn orphans(
        &self,
        waiting: &HashMap<String, (String, ExternalTask)>,
        places: &Places,
    ) -> anyhow::Result<Vec<Suspect>> {
        let age = |place: &Place| Duration::try_from_secs_f64(now() - place.created.unwrap_or_default()).ok();
        let records = places.found.iter().filter(|(id, place)| place.role == Role::Sent && !waiting.contains_key(*id));
        let old = records.filter_map(|(id, place)| {
            let (system, age) = (place.system.as_deref()?, age(place)?);
            (age >= self.options.older_than).then_some((id, system, age))
        });
        let mut orphans = Vec::new();
        for (id, system, age) in old.take(MOST_ORPHANS) {
            if self.sources.engine.task(id).context("Camunda")?.is_none() {
                orphans.push(self.suspect(id, system, age, None));
            }
            self.pause(Duration::ZERO)?;
        }
        Ok(orphans)
    }

    /// Where the two looks have found them, and what they could not see.
    fn place(&self, suspects: &mut Vec<Suspect>, looks: [&Places; 2]) {
        let [first, second] = looks;
        for suspect in suspects.iter_mut() {
            let id = &suspect.id;
            // A record of an orphan must still be there: it may just have been answered.
            let found = second.found.get(id).or_else(|| first.found.get(id).filter(|place| place.role != Role::Sent));
            suspect.place = found.cloned();
            suspect.facts.place = found.map(|place| place.role);
            suspect.facts.in_hand = self.hands.tasks.contains(id);
            suspect.facts.sight = self.hands.sight(&suspect.system, looks);
        }
        suspects.retain(|suspect| suspect.task.is_some() || suspect.facts.place == Some(Role::Sent));
    }

    /// Asks the target of each task that no queue and no worker has.
    fn ask_targets(&self, suspects: &mut [Suspect]) -> anyhow::Result<()> {
        for target in &self.sources.targets {
            let is_asked = |suspect: &&mut Suspect| {
                let is_nowhere = suspect.facts.place.is_none() && !suspect.facts.in_hand;
                suspect.system == target.system && (is_nowhere || suspect.task.is_none())
            };
            let mut asked: Vec<&mut Suspect> = suspects.iter_mut().filter(is_asked).collect();
            for chunk in asked.chunks_mut(CHUNK) {
                self.pause(Duration::ZERO)?;
                let ids: Vec<String> = chunk.iter().map(|suspect| suspect.id.clone()).collect();
                let looked = target.handler.look(&ids.iter().map(String::as_str).collect::<Vec<_>>());
                for (suspect, looked) in chunk.iter_mut().zip(looked) {
                    let topic = suspect.task.as_ref().and_then(|task| task.topic.as_deref()).unwrap_or_default();
                    let is_shown = target.handler.shows(topic);
                    self.note(suspect, looked, is_shown);
                }
            }
        }
        Ok(())
    }

    /// `is_shown`: the target would show it if it were there.
    fn note(&self, suspect: &mut Suspect, looked: Looked, is_shown: bool) {
        let facts = &mut suspect.facts;
        match looked {
            Ok(None) if !is_shown => facts.target = TargetSays::CannotBeAsked,
            Ok(None) => facts.target = TargetSays::Nothing,
            Ok(Some(seen)) => {
                let (target, when) = match seen.state {
                    State::Open => (TargetSays::Open, seen.created.as_ref()),
                    State::Finished => (TargetSays::Finished, seen.finished.as_ref().or(seen.changed.as_ref())),
                    State::Unknown => (TargetSays::There, seen.created.as_ref()),
                };
                facts.target = target;
                facts.just_changed = when.is_some_and(|when| self.is_recent(when));
                suspect.seen = Some(seen);
            }
            Err(failure) if failure.to_string() == NOT_LOOKED_UP => facts.target = TargetSays::CannotBeAsked,
            Err(failure) => {
                facts.target = TargetSays::Silent;
                suspect.failure = Some(failure.to_string());
            }
        }
    }

    fn is_recent(&self, when: &str) -> bool {
        let Ok(when) = DateTime::parse_from_rfc3339(when) else { return false };
        (self.now - when.to_utc()).to_std().unwrap_or_default() < self.options.older_than
    }

    /// What the engine says now, after everything else was looked at.
    fn ask_engine_again(&self, suspects: &mut [Suspect]) -> anyhow::Result<()> {
        for suspect in suspects {
            let Some(before) = &suspect.task else { continue };
            if matches!(class(&suspect.facts), Class::InHand | Class::Parked) {
                continue;
            }
            suspect.facts.engine = match self.sources.engine.task(&suspect.id) {
                Ok(Some(task)) if task.retries == Some(0) => EngineSays::Incident,
                Ok(Some(task)) if (&task.worker_id, task.locked_until) == (&before.worker_id, before.locked_until) => {
                    suspect.facts.suspended = task.suspended;
                    EngineSays::Waits
                }
                Ok(Some(_)) => EngineSays::Moved,
                Ok(None) => EngineSays::Gone,
                Err(err) => {
                    suspect.failure = Some(format!("Camunda: {err:#}"));
                    EngineSays::Silent
                }
            };
            self.pause(Duration::ZERO)?;
        }
        Ok(())
    }
}
