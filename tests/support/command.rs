//! Commands that end by themselves, as a user at a terminal sees them: their output and their exit code.

use super::queues::Queues;
use super::wait::PATIENCE;
use super::worker::{Worker, settings};

/// The output of a command, and its exit code.
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
}

impl Ended {
    #[track_caller]
    pub fn has(&self, line: &str) -> &Ended {
        assert!(self.output.contains(line), "{line:?} is missing from\n{}", self.output);
        self
    }

    #[track_caller]
    pub fn has_not(&self, text: &str) -> &Ended {
        assert!(!self.output.contains(text), "{text:?} is in\n{}", self.output);
        self
    }

    #[track_caller]
    pub fn ended_with(&self, code: i32) -> &Ended {
        assert_eq!(self.code, Some(code), "{}", self.output);
        self
    }
}

/// Runs the program with nothing else in its environment, and waits for its end.
#[track_caller]
pub fn run(arguments: &[&str], environment: &[(String, String)]) -> Ended {
    let mut program = Worker::run(arguments, environment);
    let code = program.wait(PATIENCE).code();
    Ended { code, output: program.output() }
}

/// The same with the settings of a test.
#[track_caller]
pub fn run_with(arguments: &[&str], queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Ended {
    run(arguments, &changed(queues, webhook, changes))
}

/// [`settings`], in which `changes` replace or add.
pub fn changed(queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut settings = settings(queues, webhook);
    settings.retain(|(name, _)| changes.iter().all(|(changed, _)| name != changed));
    settings.extend(changes.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    settings
}
