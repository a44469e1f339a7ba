//! SIGKILL while a message moves from the queue where it lay to that of its system. As in `kills.rs`, each test has its
//! run without the kill.

use amiquip::FieldTable;
use serde_json::json;

use crate::kills::{Fault, ID, Scene, Seen, UNDISTURBED, both, relay};
use crate::support::*;

#[test]
fn a_kill_between_the_confirm_of_a_move_and_its_ack_leaves_one_task_and_one_response() {
    let (control, killed) = both(|fault| {
        let changes = [("DEFAULT_ACTION", "park"), ("HEARTBEAT_INTERVAL", "0.5")];
        let mut scene = Scene::set(relay(), &changes, |_, _| None);
        let (input, default) = (scene.queues.input(), scene.queues.named("default.queue"));
        scene.queues.await_consumers(&default, 1, PATIENCE);
        let confirmed = Then::when(Direction::ToClient, CONFIRM, Then::Hold(Direction::ToServer));
        let seen = scene.relay.when_seen(Direction::ToServer, publish_to(&input), confirmed);
        let message = field_text(ID);
        scene.queues.publish(&default, &message, FieldTable::new());
        scene.queues.note_published(message.into_bytes());
        seen.wait(PATIENCE);
        match fault {
            Fault::Kill => scene.kill_and_restart(),
            Fault::None => scene.relay.pass(),
        }
        eventually("the task", PATIENCE, || scene.tasks.markers() == [ID]);
        scene.tasks.set(ID, "UF_RESULT_ANSWER", json!("26"));
        scene.tasks.set_status(ID, 5);
        let end = scene.seen_at_the_end(fault, 0, 1);
        let moves = scene.worker.log().matches(&format!("moving to {input}: task={ID} ")).count();
        assert_eq!(scene.queues.count(&default), 0);
        let end = match fault {
            Fault::None => end,
            // The first worker may have recorded the task before its bytes were held. A second record and a second
            // synchronisation do no harm.
            Fault::Kill => Seen { records: 0, syncs: end.syncs.min(1), ..end },
        };
        (moves, Seen { look_ups: 0, ..end })
    });
    let answered = Seen { look_ups: 0, records: 0, responses: 1, ..UNDISTURBED };
    assert_eq!((&control, &killed.1), (&(1, answered), &control.1));
    assert_eq!(killed.0, 2, "the kill came before the ack, so it was moved once more");
}
