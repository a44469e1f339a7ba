//! What the service shows of a task to somebody who asks for it by its id in Camunda: by each path that finds one. It
//! reads only.

use super::Topic;
use crate::message::text;
use crate::systems::Failure;
use crate::systems::onec::client::Client;
use crate::systems::onec::mapping::Mapping;
use crate::systems::seen::{Looked, Seen, State, cannot_look};

/// One result for each id.
pub fn look(client: &Client, mapping: &Mapping<Topic>, task_ids: &[&str]) -> Vec<Looked> {
    let mut topics: Vec<&Topic> = Vec::new();
    for (_, topic) in mapping.topics().filter(|(_, topic)| topic.find.is_some()) {
        if topics.iter().all(|known| known.find != topic.find) {
            topics.push(topic);
        }
    }
    if topics.is_empty() {
        return cannot_look(task_ids);
    }
    let look = |id: &&str| {
        for topic in &topics {
            if let Some(seen) = look_at(client, topic, id)? {
                return Ok(Some(seen));
            }
        }
        Ok(None)
    };
    task_ids.iter().map(look).collect()
}

fn look_at(client: &Client, topic: &Topic, task_id: &str) -> Looked {
    let turn = client.look_up()?;
    let Some(find) = topic.find_call(task_id) else { return Ok(None) };
    let found = match turn.send(&find) {
        Ok(answer) => answer,
        Err(err) if err.is_told_not_found() => return Ok(None),
        Err(err) => return Err(err.of_reading()),
    };
    let Some(id) = topic.id_in(&found) else { return Ok(None) };
    let Some(status) = topic.status_call(task_id, &id) else {
        let status = Some("created".into());
        return Ok(Some(Seen { target_id: id, state: State::Finished, status, ..Seen::default() }));
    };
    let answer = turn.send(&status).map_err(|err| -> Failure { err.of_reading() })?;
    let is_met = |condition: &Option<super::Condition>| {
        condition.as_ref().is_some_and(|condition| condition.is_met(answer.pointer(&condition.field)))
    };
    let state = match (is_met(&topic.gone), is_met(&topic.finished)) {
        // Nobody will finish it.
        (true, _) => State::Unknown,
        (false, true) => State::Finished,
        (false, false) => State::Open,
    };
    Ok(Some(Seen {
        target_id: id,
        state,
        status: topic.finished.as_ref().and_then(|finished| answer.pointer(&finished.field)).and_then(text),
        answer: topic.answer.as_ref().and_then(|given| given.text(answer.pointer(&given.field))),
        ..Seen::default()
    }))
}
