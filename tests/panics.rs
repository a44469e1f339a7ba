//! A panic is a line of the log like any other, without secrets. Alone in its file, since it changes how this process
//! reports panics.

mod support;

use std::{fs, panic, thread};

use support::secrets::{dressed, files, found_in};
use task_creator::logging;
use task_creator::systems::table::Setup;

const SECRETS: [&str; 2] = ["panic-canary-password", "panic-canary-token"];

#[test]
fn a_panic_is_logged_without_secrets() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("panics");
    let _ = fs::remove_dir_all(&folder);
    let setup = Setup::read(|name| match name {
        "LOG_DIR" => folder.to_str().map(String::from),
        "RABBITMQ_PASSWORD" => Some(SECRETS[0].into()),
        "BITRIX_WEBHOOK_URL" => Some(format!("https://bitrix.example/rest/1/{}", SECRETS[1])),
        _ => None,
    });
    let setup = setup.expect("right settings");
    setup.hide_secrets();
    let logger = logging::start(&setup.config).expect("the folder is writable");
    let panicking = thread::spawn(|| panic!("cannot go on\nwith {} at /rest/1/{}/", SECRETS[0], SECRETS[1]));
    assert!(panicking.join().is_err());
    logger.flush();
    let _ = panic::take_hook();
    let log = fs::read_to_string(folder.join("worker_errors.log")).expect("it is there");
    assert!(log.contains("panicked at tests/panics.rs:") && log.contains("with *** at /rest/1/***/"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    let found = SECRETS.map(|secret| found_in(&files(&folder), &dressed(secret, "admin")));
    assert_eq!(found, [None, None]);
    let _ = fs::remove_dir_all(&folder);
}
