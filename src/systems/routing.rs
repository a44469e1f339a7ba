//! Which system a message belongs to: that of its topic, and only where no system has the topic, the one that it names
//! as its `system`.
//!
//! The topic goes first because the bridge calls many systems `python-services`. Names are compared as they are: blanks
//! around them are off by now (see [`crate::message`]), case counts, and no part of a name stands for the whole. A
//! topic also decides where its system is off: another one would do something else with the message.
//!
//! It is told which systems there are; it knows neither their settings nor any queue.

use crate::message::Task;

/// Every system, and what belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Routes(Vec<Route>);

/// One system, and what belongs to it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name: a message may name it as its `system`.
    pub name: &'static str,
    /// The topics that belong to it, whatever `system` a message names.
    pub topics: &'static [&'static str],
    /// Is it on?
    pub is_on: bool,
}

impl Routes {
    /// Those of these systems.
    pub fn new(systems: impl IntoIterator<Item = Route>) -> Routes {
        Routes(systems.into_iter().collect())
    }

    /// The system to which a task belongs, on or off.
    pub fn system_of(&self, task: &Task) -> Option<&Route> {
        let by_topic = self.0.iter().find(|route| route.topics.contains(&task.topic.as_str()));
        by_topic.or_else(|| self.0.iter().find(|route| route.name == task.system))
    }

    /// The same if it is on: who works on the task, wherever its message lies. `None`: whoever has it.
    pub fn to(&self, task: &Task) -> Option<&'static str> {
        self.system_of(task).filter(|route| route.is_on).map(|route| route.name)
    }

    /// Why this task is left to the system `own`, for people.
    pub fn why_left_to(&self, own: &str, task: &Task) -> String {
        let named = format!("its topic is {:?}, its system {:?}", task.topic, task.system);
        match self.system_of(task) {
            Some(Route { name, is_on: false, .. }) => format!("it belongs to {name}, which is off: {named}"),
            Some(Route { name, .. }) if *name != own => {
                format!(
                    "it belongs to {name}, and was moved or tried before, so that only a replay moves it there: {named}"
                )
            }
            _ => format!("it belongs to no other system: {named}; topics of systems that are on: {}", self.known()),
        }
    }

    /// The topics of all systems that are on.
    fn known(&self) -> String {
        let topics: Vec<&str> =
            self.0.iter().filter(|route| route.is_on).flat_map(|route| route.topics).copied().collect();
        if topics.is_empty() { "none".into() } else { topics.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROUTES: [Route; 3] = [
        Route { name: "mail", topics: &["send", "send_twice"], is_on: true },
        Route { name: "paper", topics: &["print"], is_on: false },
        Route { name: "services", topics: &[], is_on: true },
    ];

    fn task(topic: &str, system: &str) -> Task {
        let body = json!({"task_id": "task-1", "topic": topic, "system": system});
        Task::parse(body.to_string().into_bytes()).expect("a task")
    }

    fn to(topic: &str, system: &str) -> Option<&'static str> {
        Routes::new(ROUTES).to(&task(topic, system))
    }

    #[test]
    fn the_topic_decides_before_the_system() {
        assert_eq!(to("send", "services"), Some("mail"));
        assert_eq!(to("calculate", "services"), Some("services"));
        assert_eq!(to("", "mail"), Some("mail"));
    }

    #[test]
    fn what_nobody_knows_belongs_to_nobody() {
        assert_eq!((to("calculate", "unknown"), to("", "")), (None, None));
        assert_eq!(Routes::default().to(&task("send", "mail")), None);
    }

    #[test]
    fn a_system_that_is_off_gets_nothing_and_its_topic_goes_to_no_other_one() {
        assert_eq!((to("", "paper"), to("print", ""), to("print", "services")), (None, None, None));
    }

    #[test]
    fn blanks_around_a_name_do_not_count_and_case_does() {
        assert_eq!((to(" send\n", ""), to(" ", " mail ")), (Some("mail"), Some("mail")));
        assert_eq!((to("Send", ""), to("", "MAIL"), to("send_", ""), to("sen", "")), (None, None, None, None));
    }

    #[test]
    fn people_are_told_why_nobody_takes_a_task() {
        let why = |topic: &str| Routes::new(ROUTES).why_left_to("services", &task(topic, "unknown"));
        assert_eq!(
            why("calculate"),
            "it belongs to no other system: its topic is \"calculate\", its system \"unknown\"; topics of systems that are on: \
             send, send_twice"
        );
        assert_eq!(why("print"), "it belongs to paper, which is off: its topic is \"print\", its system \"unknown\"");
        assert!(why("send").starts_with("it belongs to mail, and was moved or tried before"), "{}", why("send"));
    }
}
