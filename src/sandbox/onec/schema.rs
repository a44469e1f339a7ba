//! What the infobase is made of: its entity sets, their fields, and what a field takes. It keeps nothing.

use serde_json::{Map, Value, json};

use super::error;
use crate::http::server::Page;

/// Where the configuration keeps Camunda's id of the task.
pub const TASK_ID: &str = "ИдентификаторЗадачи";

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Text,
    Number,
    Bool,
    Moment,
    Key,
    /// A tabular part with these fields.
    Rows(&'static [(&'static str, Type)]),
}

/// What an entity set is a set of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Document,
    Catalog,
    Task,
    BusinessProcess,
}

/// An entity set.
pub struct Set {
    pub name: &'static str,
    pub kind: Kind,
    fields: &'static [(&'static str, Type)],
}

use Type::{Bool, Key, Moment, Number, Rows, Text};

const SETS: &[Set] = &[
    Set {
        name: "Document_Заявка",
        kind: Kind::Document,
        fields: &[
            (TASK_ID, Text),
            ("Тема", Text),
            ("Содержание", Text),
            ("Сумма", Number),
            ("Срочно", Bool),
            ("СрокИсполнения", Moment),
            ("Контрагент_Key", Key),
            ("Основание", Key),
            ("Основание_Type", Text),
            ("Вопрос", Text),
            ("РезультатВыполнения", Text),
            ("Товары", Rows(&[("LineNumber", Text), ("Наименование", Text), ("Количество", Number), ("Цена", Number)])),
        ],
    },
    Set {
        name: "Catalog_Контрагенты",
        kind: Kind::Catalog,
        fields: &[(TASK_ID, Text), ("НаименованиеПолное", Text), ("ИНН", Text)],
    },
    Set {
        name: "Task_ЗадачаИсполнителя",
        kind: Kind::Task,
        fields: &[
            (TASK_ID, Text),
            ("Описание", Text),
            ("СрокИсполнения", Moment),
            ("Исполнитель", Key),
            ("Исполнитель_Type", Text),
            ("РезультатВыполнения", Text),
        ],
    },
    Set {
        name: "BusinessProcess_Задание",
        kind: Kind::BusinessProcess,
        fields: &[(TASK_ID, Text), ("Наименование", Text), ("Содержание", Text), ("РезультатВыполнения", Text)],
    },
];

/// The entity set of this name.
pub fn find(name: &str) -> Option<&'static Set> {
    SETS.iter().find(|set| set.name == name)
}

impl Kind {
    /// The fields of every set of the kind, and whether a client may write them.
    fn fields(self) -> &'static [(&'static str, Type, bool)] {
        match self {
            Kind::Document => &[("Number", Text, true), ("Date", Moment, true), ("Posted", Bool, false)],
            Kind::Catalog => &[("Code", Text, true), ("Description", Text, true)],
            Kind::Task => &[
                ("Number", Text, true),
                ("Date", Moment, true),
                ("Description", Text, true),
                ("Executed", Bool, false),
            ],
            Kind::BusinessProcess => {
                &[("Number", Text, true), ("Date", Moment, true), ("Started", Bool, false), ("Completed", Bool, false)]
            }
        }
    }
}

impl Set {
    /// Type of the field, and whether a client may write it.
    fn field(&self, name: &str) -> Option<(Type, bool)> {
        let common = [("Ref_Key", Key, true), ("DeletionMark", Bool, true), ("DataVersion", Text, false)];
        let of_all = common.iter().chain(self.kind.fields()).map(|(name, kind, may)| (*name, *kind, *may));
        let own = self.fields.iter().map(|(name, kind)| (*name, *kind, true));
        of_all.chain(own).find(|(known, ..)| *known == name).map(|(_, kind, may)| (kind, may))
    }

    /// Is there such a field?
    pub fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// An object with nothing in it but a number.
    pub fn empty(&self, number: u64) -> Map<String, Value> {
        let mut object = Map::from_iter([("DeletionMark".to_owned(), Value::Bool(false))]);
        let of_kind = self.kind.fields().iter().map(|(name, kind, _)| (*name, *kind));
        for (name, kind) in of_kind.chain(self.fields.iter().copied()) {
            object.insert(name.to_owned(), nothing(kind));
        }
        let numbered = if self.kind == Kind::Catalog { "Code" } else { "Number" };
        object.insert(numbered.to_owned(), format!("{number:09}").into());
        object
    }

    /// Can all this be written?
    ///
    /// # Errors
    /// The answer to whoever tries.
    pub fn accept(&self, given: &Map<String, Value>) -> Result<(), Page> {
        for (name, value) in given {
            let Some((kind, may_be_written)) = self.field(name) else {
                return Err(error(400, "10", &format!("Свойство не найдено: {name}")));
            };
            if !may_be_written || !kind.takes(value) {
                return Err(error(400, "4", &format!("Неверное значение свойства: {name}")));
            }
            if let Rows(fields) = kind {
                value.as_array().into_iter().flatten().try_for_each(|row| accept_row(fields, row))?;
            }
        }
        Ok(())
    }
}

fn accept_row(fields: &[(&str, Type)], row: &Value) -> Result<(), Page> {
    let Some(given) = row.as_object() else {
        return Err(error(400, "2", "Неверный формат запроса"));
    };
    if !given.contains_key("LineNumber") {
        return Err(error(500, "-1", "Произошла внутренняя ошибка OData сервиса."));
    }
    for (name, value) in given {
        let Some((_, kind)) = fields.iter().find(|(known, _)| known == name) else {
            return Err(error(400, "10", &format!("Свойство не найдено: {name}")));
        };
        if !kind.takes(value) {
            return Err(error(400, "4", &format!("Неверное значение свойства: {name}")));
        }
    }
    Ok(())
}

impl Type {
    fn takes(self, value: &Value) -> bool {
        match self {
            Text => value.is_string(),
            Number => value.is_number(),
            Bool => value.is_boolean(),
            Moment => value.as_str().is_some_and(|text| text.len() == 19 && text.as_bytes()[10] == b'T'),
            Key => value.as_str().is_some_and(|text| text.len() == 36 && text.matches('-').count() == 4),
            Rows(_) => value.is_array(),
        }
    }
}

/// How 1C shows that there is nothing.
fn nothing(kind: Type) -> Value {
    match kind {
        Text => "".into(),
        Number => 0.into(),
        Bool => false.into(),
        Moment => "0001-01-01T00:00:00".into(),
        Key => "00000000-0000-0000-0000-000000000000".into(),
        Rows(_) => json!([]),
    }
}
