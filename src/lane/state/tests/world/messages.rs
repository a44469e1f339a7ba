//! What is published in the world: tasks, copies of them, records, what nobody can read, and what belongs to another
//! system.

use super::*;

impl World<'_> {
    pub(super) fn publish_any(&mut self) {
        let id = format!("task-{}", self.below(TASKS as usize));
        match self.below(10) {
            0 => {
                let requeued = self.below(2) as u32 * WORN_OUT;
                self.publish_unreadable(&format!("no task {}", self.step), requeued);
            }
            1 => {
                let task = Task::parse(json!({"task_id": id}).to_string().into_bytes()).expect("a task");
                let body = sent_record(&task, "input", json!({}), None);
                let mut headers = Headers::new();
                headers.set("x-record", true);
                self.add(1, Message { label: id, body, headers, requeued: 0 });
            }
            2 => self.add_task(&id, WORN_OUT + 1, ""),
            // Where there is a limit, its message is not too large, and its record is.
            3 => self.add_task(&id, 0, &"x".repeat(LIMIT - 100)),
            4 => {
                let (id, requeued) = (format!("other-{}", self.step % 3), self.below(2) as u32 * (WORN_OUT + 1));
                self.publish_for_another(&id, requeued);
            }
            5 => {
                let (id, may_be_twice) = (format!("moved-{}", self.step % 3), self.once_in(2));
                self.publish_moved(&id, may_be_twice);
            }
            6 => {
                let at = self.once_in(2).then_some(self.step as i64);
                self.publish_replay(&id, at);
            }
            _ => self.add_task(&id, 0, ""),
        }
    }

    /// The tracker has parked a task of which no message is left.
    pub(super) fn park_any(&mut self) {
        let id = format!("task-{}", self.below(TASKS as usize));
        let delivered = self.delivered.values().map(|delivered| &delivered.message);
        let is_left = delivered.chain(self.queues.iter().flatten()).any(|message| message.label == id);
        if !is_left && self.followed_up.contains(&id) {
            self.park(&id);
        }
    }

    /// The tracker has parked this task.
    pub fn park(&mut self, id: &str) {
        self.recorded.remove(id);
        self.followed_up.remove(id);
        self.lane.control.parked(id);
    }

    /// It belongs to another system.
    pub fn publish_for_another(&mut self, id: &str, requeued: u32) {
        self.add(0, Message { label: id.to_owned(), body: for_another(id), headers: Headers::new(), requeued });
    }

    /// The same, and another worker has moved it here, perhaps twice.
    pub fn publish_moved(&mut self, id: &str, may_be_twice: bool) {
        let mut headers = Headers::from_iter([("x-original-queue", "mail.queue")]);
        headers.set("x-may-exist", may_be_twice);
        self.add(0, Message { label: id.to_owned(), body: for_another(id), headers, requeued: 0 });
    }

    /// A person has replayed the message of this task.
    pub fn publish_replay(&mut self, id: &str, at: Option<i64>) {
        let mut headers = Headers::from_iter([("x-replayed", true)]);
        at.into_iter().for_each(|at| headers.set("x-replayed-at", at));
        let body = json!({"task_id": id}).to_string().into_bytes();
        self.add(0, Message { label: id.to_owned(), body, headers, requeued: 0 });
    }

    pub fn publish_unreadable(&mut self, body: &str, requeued: u32) {
        let body = body.as_bytes().to_vec();
        self.add(0, Message { label: fingerprint(&body), body, headers: Headers::new(), requeued });
    }

    pub fn publish(&mut self, id: &str) {
        self.add_task(id, 0, "");
    }

    pub fn add_task(&mut self, id: &str, requeued: u32, process: &str) {
        let body = json!({"task_id": id, "process_instance_id": process}).to_string().into_bytes();
        self.add(0, Message { label: id.to_owned(), body, headers: Headers::new(), requeued });
    }

    fn add(&mut self, queue: usize, message: Message) {
        self.published.insert(message.label.clone());
        self.queues[queue].push_back(message);
    }

    /// Only what nobody has worked on leaves for another system, whole, and once: with the name of the queue that it
    /// leaves.
    pub(super) fn assert_may_leave(&self, outgoing: &OutgoingMessage) {
        let (queues, id) = (&self.lane.queues, &outgoing.message_id);
        if !queues.include(&outgoing.queue) {
            assert!(outgoing.queue == "mail.queue" && id.starts_with("other-"), "{id} moved to {}", outgoing.queue);
            assert_eq!(outgoing.headers.text("x-original-queue"), Some(&*queues.input));
            assert_eq!(outgoing.body, for_another(id));
        }
    }
}

fn for_another(id: &str) -> Vec<u8> {
    json!({"task_id": id, "topic": OTHERS}).to_string().into_bytes()
}
