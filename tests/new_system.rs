//! The system that the README adds: its file compiles as it is printed there.
//!
//! What the README lets one add to other files stands here in their place.

use std::fs;

#[path = "new_system"]
mod systems {
    #[path = "helpdesk.rs"]
    pub mod helpdesk;

    pub use task_creator::systems::{
        Configured, Connected, Done, Explanation, Failure, Handler, Progress, Request, Surroundings, System, Tracker,
        http,
    };
}

use systems::Configured;
use task_creator::{message, settings, stop, tls};

#[test]
fn the_readme_prints_what_is_compiled_here() {
    let readme = fs::read_to_string("README.md").expect("it is part of the repository");
    let compiled = fs::read_to_string("tests/new_system/helpdesk.rs").expect("it is beside this file");
    assert!(readme.contains(&format!("```rust\n{compiled}```")), "the README and tests/new_system/helpdesk.rs differ");
}

#[test]
fn it_is_off_without_its_setting_and_on_with_it() {
    let (off, mistakes) = settings::Variables::read(|_| None, systems::helpdesk::open);
    assert!(mistakes.is_empty() && matches!(off, Configured::Off("HELPDESK_URL is not set")), "{off:?}");
    let url = |name: &str| (name == "HELPDESK_URL").then(|| "http://127.0.0.1:9/canary".to_owned());
    let (on, mistakes) = settings::Variables::read(url, systems::helpdesk::open);
    assert!(mistakes.is_empty() && !format!("{on:?}").contains("canary"), "{on:?}");
    let Configured::On(system) = on else { panic!("it is on") };
    let (_stopper, stop) = stop::signal();
    let around = systems::Surroundings { https: &tls::Authorities::public(), threads: 1, stop: &stop };
    assert!(system.connect(&around).is_ok());
}

#[test]
fn it_explains_itself_without_knowing_where_its_target_is() {
    let (explaining, _) = settings::Variables::read(|_| None, systems::helpdesk::open_without_target);
    let Configured::On(system) = explaining else { panic!("it is on") };
    let task = message::Task::parse(br#"{"task_id": "task-1"}"#.to_vec()).expect("a task");
    let requests = system.explain(&task).requests;
    assert!(requests[0].body.contains("task-1"), "{requests:?}");
}
