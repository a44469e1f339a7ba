//! The system that the README adds: its file compiles as it is printed there.
//!
//! What the README lets one add to other files stands here in their place.

use std::fs;

mod config {
    pub use task_creator::config::{Secret, Variables};
    use task_creator::tls::Authorities;

    use crate::systems::helpdesk;

    /// The settings, with the field that step 2 adds.
    pub struct Config {
        pub https: Authorities,
        pub helpdesk: Option<helpdesk::Settings>,
    }
}

#[path = "new_system"]
mod systems {
    #[path = "helpdesk.rs"]
    pub mod helpdesk;

    pub use task_creator::systems::{Done, Failure, Handler, Progress, System, Tracker};
}

use task_creator::dotenv::Environment;
use task_creator::{http, message, stop};

#[test]
fn the_readme_prints_what_is_compiled_here() {
    let readme = fs::read_to_string("README.md").expect("it is part of the repository");
    let compiled = fs::read_to_string("tests/new_system/helpdesk.rs").expect("it is beside this file");
    assert!(readme.contains(&format!("```rust\n{compiled}```")), "the README and tests/new_system/helpdesk.rs differ");
}

#[test]
fn it_is_off_without_its_setting_and_on_with_it() {
    let (_stopper, stop) = stop::signal();
    let settings = systems::helpdesk::Settings {
        url: config::Secret::new("http://127.0.0.1:9/canary"),
        timeout: std::time::Duration::from_secs(1),
    };
    let config = |helpdesk| config::Config { https: task_creator::tls::Authorities::public(), helpdesk };
    let environment = Environment::default();
    let (unset, mistakes) = config::Variables::of(&environment, systems::helpdesk::Settings::from_variables);
    assert!(mistakes.is_empty());
    assert_eq!(systems::helpdesk::open(&config(unset), &stop).err(), Some("HELPDESK_URL is not set"));
    assert!(systems::helpdesk::open(&config(Some(settings)), &stop).is_ok());
}
