//! The fields that a task can have: names, kinds, and how a written value reads back. It knows no task.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::request::{text, texts};

/// The texts of the list field `UF_RESULT_ANSWER`, with the ids of their values.
pub const ANSWERS: [(&str, &str); 2] = [("26", "ДА"), ("27", "НЕТ")];

/// The longest name of a custom field, in characters.
const LONGEST_NAME: usize = 50;

/// Types that `task.item.userfield.add` accepts.
const USER_TYPES: [&str; 4] = ["string", "double", "datetime", "boolean"];

/// The standard fields with their kinds, and the values of unset ones ("" = null).
const STANDARD: &[(&str, Kind, &str)] = &[
    ("ID", Kind::Own, ""),
    ("PARENT_ID", Kind::Text, ""),
    ("TITLE", Kind::Text, ""),
    ("DESCRIPTION", Kind::Text, ""),
    ("DESCRIPTION_IN_BBCODE", Kind::Text, "Y"),
    ("PRIORITY", Kind::Text, "1"),
    ("STATUS", Kind::Own, ""),
    ("GROUP_ID", Kind::Text, "0"),
    ("STAGE_ID", Kind::Text, "0"),
    ("FLOW_ID", Kind::Text, ""),
    ("CREATED_BY", Kind::Text, "1"),
    ("CREATED_DATE", Kind::Own, ""),
    ("RESPONSIBLE_ID", Kind::Text, ""),
    ("ACCOMPLICES", Kind::List, ""),
    ("AUDITORS", Kind::List, ""),
    ("CHANGED_DATE", Kind::Own, ""),
    ("CLOSED_DATE", Kind::Own, ""),
    ("DEADLINE", Kind::Text, ""),
    ("START_DATE_PLAN", Kind::Text, ""),
    ("END_DATE_PLAN", Kind::Text, ""),
    ("XML_ID", Kind::Text, ""),
    ("TAGS", Kind::List, ""),
    ("TASK_CONTROL", Kind::Text, "N"),
    ("ALLOW_CHANGE_DEADLINE", Kind::Text, "N"),
    ("ALLOW_TIME_TRACKING", Kind::Text, "N"),
    ("MATCH_WORK_TIME", Kind::Text, "N"),
    ("ADD_IN_REPORT", Kind::Text, "N"),
];

/// The custom fields that the sandbox starts with.
const CUSTOM: &[(&str, Kind, &str)] = &[
    ("UF_CRM_TASK", Kind::List, "crm"),
    ("UF_CAMUNDA_ID_EXTERNAL_TASK", Kind::Text, "string"),
    ("UF_RESULT_EXPECTED", Kind::Boolean, "boolean"),
    ("UF_RESULT_QUESTION", Kind::Text, "string"),
    ("UF_RESULT_ANSWER", Kind::Text, "enumeration"),
];

/// How a value is kept and read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Anything scalar; reads back as text.
    Text,
    /// Reads back as "1" or "0". Versions differ in what they take for a yes besides "Y": here "1" is a yes, and `true`
    /// is not.
    Boolean,
    /// A list of texts.
    List,
    /// Set by the portal itself; a written value is dropped. (`STATUS` has a rule of its own in the methods.)
    Own,
}

/// One field of tasks.
#[derive(Debug)]
pub(super) struct Field {
    /// As requests spell it: `UF_RESULT_EXPECTED`.
    pub name: Arc<str>,
    /// As replies spell it: `ufResultExpected`.
    pub reply_name: String,
    kind: Kind,
    /// The value of an unset field.
    pub unset: Value,
    /// The portal's type name; only custom fields have one.
    user_type: Option<String>,
    /// A task without it is not created.
    pub mandatory: bool,
    /// It was removed.
    gone: bool,
}

impl Field {
    pub fn is_custom(&self) -> bool {
        self.user_type.is_some()
    }

    /// The value as the portal keeps it; `None` leaves the field unset.
    pub fn keep(&self, written: &Value) -> Option<Value> {
        match self.kind {
            Kind::Text => text(written).map(Value::from),
            Kind::Boolean => {
                let yes = |text: String| !written.is_boolean() && matches!(text.as_str(), "1" | "Y");
                text(written).map(|text| if yes(text) { "1" } else { "0" }.into())
            }
            Kind::List => Some(texts(written).into()).filter(|_| !written.is_null()),
            Kind::Own => None,
        }
    }

    /// A filter's value in the spelling of kept values.
    pub fn as_kept(&self, asked: String) -> String {
        match self.kind {
            Kind::Boolean => self.keep(&asked.as_str().into()).as_ref().and_then(text).unwrap_or(asked),
            Kind::Text | Kind::List | Kind::Own => asked,
        }
    }
}

/// All fields of the portal. A field's position never changes; tasks refer to it.
pub(super) struct Fields(Vec<Field>);

impl Default for Fields {
    fn default() -> Fields {
        let mut fields = Fields(Vec::new());
        for &(name, kind, unset) in STANDARD {
            let unset = match (kind, unset) {
                (Kind::List, _) => json!([]),
                (_, "") => Value::Null,
                (_, text) => text.into(),
            };
            fields.push(name, kind, unset, None);
        }
        for &(name, kind, user_type) in CUSTOM {
            // An unset custom field is null, or false when it can hold several values.
            let unset = if kind == Kind::List { Value::Bool(false) } else { Value::Null };
            fields.push(name, kind, unset, Some(user_type));
        }
        fields
    }
}

impl Fields {
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.0.iter().enumerate().filter(|(_, field)| !field.gone)
    }

    /// The field with this exact name, and its position.
    pub fn find(&self, name: &str) -> Option<(usize, &Field)> {
        self.iter().find(|(_, field)| &*field.name == name)
    }

    pub fn at(&self, position: usize) -> &Field {
        &self.0[position]
    }

    /// Adds a custom field and returns its id. A missing `UF_` is put before the name.
    ///
    /// # Errors
    /// What is wrong, in the portal's words: the type is none of the four, the name is too long, or the field exists.
    pub fn add_custom(&mut self, name: &str, user_type: &str) -> Result<usize, &'static str> {
        let name = if name.starts_with("UF_") { name.to_owned() } else { format!("UF_{name}") };
        if !USER_TYPES.contains(&user_type) {
            return Err("Указан неверный пользовательский тип");
        }
        if name.chars().count() > LONGEST_NAME {
            return Err("Слишком длинный код поля");
        }
        if self.find(&name).is_some() {
            return Err("Поле с таким кодом уже существует");
        }
        if let Some(position) = self.0.iter().position(|field| *field.name == name) {
            self.0[position].gone = false;
            return Ok(position + 1);
        }
        let kind = if user_type == "boolean" { Kind::Boolean } else { Kind::Text };
        self.push(&name, kind, Value::Null, Some(user_type));
        Ok(self.0.len())
    }

    fn push(&mut self, name: &str, kind: Kind, unset: Value, user_type: Option<&str>) {
        let (name, reply_name) = (name.into(), camel_case(name));
        self.0.push(Field {
            name,
            reply_name,
            kind,
            unset,
            user_type: user_type.map(str::to_owned),
            mandatory: false,
            gone: false,
        });
    }

    /// Makes a custom field mandatory for every new task.
    pub fn require(&mut self, name: &str) {
        self.0.iter_mut().filter(|field| &*field.name == name).for_each(|field| field.mandatory = true);
    }

    /// Removes a custom field: its name is unknown until it is made again. Its position stays.
    pub fn forget(&mut self, name: &str) {
        self.0.iter_mut().filter(|field| field.is_custom() && &*field.name == name).for_each(|field| field.gone = true);
    }

    /// The reply of `tasks.task.getFields`.
    pub fn describe(&self) -> Value {
        let describe =
            |field: &Field| json!({"title": &*field.name, "type": field.user_type.as_deref().unwrap_or("string")});
        let fields: Map<String, Value> =
            self.iter().map(|(_, field)| (field.name.to_string(), describe(field))).collect();
        json!({"fields": fields})
    }

    /// The custom fields as `task.item.userfield.getlist` lists them: one, or all.
    pub fn describe_custom(&self, name: Option<&str>) -> Vec<Value> {
        let wanted = |field: &Field| field.is_custom() && name.is_none_or(|name| *name == *field.name);
        let row = |(position, field): (usize, &Field)| {
            Some(json!({
                "ID": (position + 1).to_string(),
                "ENTITY_ID": "TASKS_TASK",
                "FIELD_NAME": &*field.name,
                "USER_TYPE_ID": field.user_type.as_deref()?,
                "MULTIPLE": if field.kind == Kind::List { "Y" } else { "N" },
                "MANDATORY": if field.mandatory { "Y" } else { "N" },
                "SETTINGS": {"ROWS": 1},
            }))
        };
        self.iter().filter(|(_, field)| wanted(field)).filter_map(row).collect()
    }
}

/// `UF_RESULT_EXPECTED` → `ufResultExpected`.
fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            _ if upper => {
                camel.push(letter);
                upper = false;
            }
            _ => camel.push(letter.to_ascii_lowercase()),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_names_are_camel_case() {
        assert_eq!(camel_case("ID"), "id");
        assert_eq!(camel_case("UF_CAMUNDA_ID_EXTERNAL_TASK"), "ufCamundaIdExternalTask");
    }

    #[test]
    fn a_boolean_is_reliable_only_as_y_and_n() {
        let fields = Fields::default();
        let (_, field) = fields.find("UF_RESULT_EXPECTED").expect("a field from the start");
        for (written, kept) in [
            (json!("Y"), "1"),
            (json!("N"), "0"),
            (json!("1"), "1"),
            (json!(1), "1"),
            (json!("0"), "0"),
            (json!(true), "0"),
            (json!("true"), "0"),
            (json!(false), "0"),
        ] {
            assert_eq!(field.keep(&written), Some(kept.into()), "{written}");
        }
    }

    #[test]
    fn a_field_is_added_once() {
        let mut fields = Fields::default();
        assert!(fields.add_custom("MARK", "string").is_ok());
        assert!(fields.find("UF_MARK").is_some());
        assert!(fields.add_custom("UF_MARK", "string").is_err());
        assert!(fields.add_custom("UF_LIST", "enumeration").is_err());
        assert!(fields.add_custom(&format!("UF_{}", "X".repeat(48)), "string").is_err());
        fields.forget("UF_MARK");
        assert!(fields.find("UF_MARK").is_none());
        assert!(fields.add_custom("UF_MARK", "string").is_ok());
    }
}
