//! For `task-creator explain`: what the portal would be asked for a task. The worker's own code makes the requests.
//!
//! Nothing is sent. Values that only the portal knows are shown in angle brackets.

use super::client::Call;
use super::fields::{self, Checklist, Fields};
use super::{Settings, checklists, handler, look_up};
use crate::message::Task;
use crate::systems::{Explained, Explanation, Request};

/// In place of the id of the task that does not exist yet.
const TASK: &str = "<id of the task>";

/// What the worker would do with this task.
pub fn run(task: &Task, settings: &Settings) -> Explanation {
    let fields = fields::fields(task, settings);
    let mut explanation = Explanation::default();
    ask_for_task(task, settings, &fields, &mut explanation);
    explanation.requests.extend(checklist_items(&fields.checklists));
    match handler::sync(task) {
        Some(call) => explanation.requests.push(request(&call, "last")),
        None => explanation.notes.push(
            "process_definition_key or process_instance_id is missing, so the process is not synchronised".into(),
        ),
    }
    let Fields { fields, checklists, warnings, left_out, mut origins } = fields;
    explanation.notes.extend(warnings.into_iter().chain(left_out));
    let checklists: Vec<String> = checklists.into_iter().map(|list| list.name).collect();
    let checklists = (!checklists.is_empty()).then(|| (fields::CHECKLISTS.to_owned(), checklists.into()));
    explanation.values = fields
        .into_iter()
        .chain(checklists)
        .map(|(name, value)| Explained { origin: origins.remove(&name).unwrap_or_default(), name, value })
        .collect();
    explanation
}

fn ask_for_task(task: &Task, settings: &Settings, fields: &Fields, explanation: &mut Explanation) {
    let create = match &settings.marker_field {
        Some(marker) => {
            let look_ups = look_up::calls(marker, &task.id);
            explanation
                .requests
                .extend(look_ups.iter().map(|call| request(call, "first, since the task may be there")));
            "if it is not there"
        }
        None => {
            explanation.notes.push("BITRIX_TASK_ID_FIELD=none: it is not looked up, and may be created twice".into());
            "first"
        }
    };
    let concessions: Vec<String> =
        fields::concessions(fields, settings).into_iter().map(|concession| concession.what).collect();
    let again = match concessions.is_empty() {
        true => String::new(),
        false => format!("; if it is refused, again {}", concessions.join(", then ")),
    };
    explanation.requests.push(request(&handler::add(&fields.fields), format!("{create}{again}")));
}

/// All lists, then their lines.
fn checklist_items(lists: &[Checklist]) -> Vec<Request> {
    let places = |index: usize| checklists::place(index);
    let heads = lists.iter().enumerate().map(|(index, list)| checklists::item(TASK, &list.name, "0", places(index)));
    let lines = lists.iter().flat_map(|list| {
        let parent = format!("<id of {}>", list.name);
        let lines = list.items.iter().enumerate();
        lines.map(move |(index, line)| checklists::item(TASK, line, &parent, places(index)))
    });
    let read_back = (!lists.is_empty()).then(|| {
        request(
            &checklists::items(TASK),
            "if it was there already, once its record is safe: then only what is missing is added",
        )
    });
    let added = heads.chain(lines).map(|call| request(&call, "once its record is safe"));
    read_back.into_iter().chain(added).collect()
}

fn request(call: &Call, when: impl Into<String>) -> Request {
    let body = serde_json::to_string(call).expect("parameters are JSON values");
    Request { method: call.method.into(), when: when.into(), body }
}
