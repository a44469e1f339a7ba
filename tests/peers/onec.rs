//! 1C: python-1c-odata, a client that others have written against real 1C, reads, filters and finishes in the sandbox's
//! infobase what the 1C lane has made there.

use std::process::Command;

use serde_json::Value;
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::onec::{self, Onec, PASSWORD, USER};

use crate::program::found;
use crate::support::{PATIENCE, Queues, Worker, changed, field_text};

/// The task ids of a document, and of a task for a person.
const DOCUMENT: &str = "document «1»";
const TASK: &str = "task-2";

#[test]
#[ignore = "needs programs of others: tests/peers/run"]
fn a_client_that_others_have_written_finishes_what_the_lane_has_made() {
    let Some(python) = found("PEER_PYTHON") else { return };
    let fake = HttpFake::start(0, Onec::default()).expect("loopback has a free port");
    let queues = Queues::of("1c", "peer 1c");
    let settings = [
        ("ONEC_URL", &*onec::url(fake.address())),
        ("ONEC_USERNAME", USER),
        ("ONEC_PASSWORD", PASSWORD),
        ("ONEC_MAPPING_FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/src/systems/onec/mapping.example.json")),
        ("HEARTBEAT_INTERVAL", "0.3"),
    ];
    let mut worker = Worker::run(&[], &changed(&queues, "", &settings));
    for (id, topic) in [(DOCUMENT, "1c_create_document"), (TASK, "1c_ask_somebody")] {
        queues.publish_task(&field_text(id).replacen("bitrix_create_task", topic, 1).replacen("bitrix24", "1c", 1));
    }
    queues.await_count(&queues.sent(), 2, PATIENCE);
    let client = Command::new(python)
        .args(["tests/peers/onec/client.py", &format!("http://{}", fake.address()), USER, PASSWORD, DOCUMENT, TASK])
        .output()
        .expect("Python starts");
    assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
    queues.await_count(&queues.responses(), 2, PATIENCE);
    let responses: Vec<Value> = queues.peek_all(&queues.responses()).iter().map(|response| response.json()).collect();
    let answer = |id: &str| {
        let response = responses.iter().find(|response| response["original_message"]["task_id"] == id);
        response.map(|response| response["response_data"]["result"]["task"]["ufResultAnswer_text"].clone())
    };
    assert_eq!((answer(DOCUMENT), answer(TASK)), (Some("ДА".into()), Some("НЕТ".into())));
    worker.stop();
}
