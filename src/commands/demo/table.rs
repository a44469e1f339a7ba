//! The text of the demo's table, and of the line for each event. It does not know where the text is written.

use std::fmt::Write as _;
use std::time::Duration;

use super::audit::{Finish, History};
use crate::commands::fakes;
use crate::commands::fakes::messages::Kind;

/// A narrower terminal gets lines instead of the table, whose titles would be cut too short.
const NARROWEST: usize = 60;
/// The width of all columns but the system's and the title.
const OTHER_COLUMNS: usize = 45;
/// The width of the column with the time and the number of the created task.
const CREATED: usize = 12;
/// Titles are not cut shorter than this.
const SHORTEST_TITLE: usize = 12;
/// The width of a title in the line for an event; where systems are named too, it is cut.
const EVENT_TITLE: usize = 33;
const SHORT_EVENT_TITLE: usize = 21;

/// The widths of the columns that depend on what is shown.
pub struct Layout {
    /// With the system, and the blanks after it; 0 where there is one system only.
    system: usize,
    /// With the number of the task, which is not as long in one system as in another.
    created: usize,
}

impl Layout {
    /// The layout for these messages.
    pub fn of(histories: &[History]) -> Layout {
        let mut labels: Vec<&str> = histories.iter().map(|history| fakes::of(history.message.system).label).collect();
        labels.dedup();
        let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default();
        match labels.len() {
            0 | 1 => Layout { system: 0, created: CREATED },
            _ => Layout { system: longest + 2, created: CREATED + 1 },
        }
    }

    /// The narrowest screen for the table.
    pub fn narrowest(&self) -> usize {
        NARROWEST + self.system + self.created - CREATED
    }

    /// The table, for a screen of this width.
    pub fn table(&self, histories: &[History], width: usize) -> Vec<String> {
        if width < self.narrowest() {
            let lines = |history: &History| {
                let label = self.system_of(history);
                [format!("  {label}{}", history.message.title), format!("    {}", outcome(history))]
            };
            return histories.iter().flat_map(lines).collect();
        }
        let longest = histories.iter().map(|history| history.message.title.chars().count()).max().unwrap_or_default();
        let others = OTHER_COLUMNS + self.system + self.created - CREATED + 1;
        let title = width.saturating_sub(others).clamp(SHORTEST_TITLE, longest.max(SHORTEST_TITLE));
        let head = format!(
            "  {}{:title$}  {:>5}  {:<created$}  {:<10}  {}",
            self.padded("system"),
            "message",
            "sent",
            "created",
            "finished",
            "answered",
            created = self.created
        );
        [head].into_iter().chain(histories.iter().map(|history| self.row(history, title))).collect()
    }

    fn row(&self, history: &History, width: usize) -> String {
        let label = self.system_of(history);
        let mut row =
            format!("  {label}{:width$}  {:>5}  ", cut(history.message.title, width), time(history.published));
        let written = match (&history.message.kind, &history.parked, history.recognised) {
            (_, Some((at, cause)), _) => write!(row, "{:>5} parked: {cause}", seconds(*at)),
            (Kind::Again(_), None, Some(at)) => write!(row, "{:>5} known, no second task", seconds(at)),
            (Kind::Task(_) | Kind::Again(_) | Kind::Nobodys(_) | Kind::Unreadable, None, _) => {
                let created =
                    history.created.as_ref().map(|(at, id)| format!("{:>5} #{id}", seconds(*at))).unwrap_or_default();
                let finished = history.finished.map(|(at, finish)| finished(at, finish)).unwrap_or_default();
                let width = self.created;
                write!(row, "{created:<width$}  {finished:<10}  {:>5}", time(history.answered))
            }
        };
        written.expect("writing to a String cannot fail");
        row.trim_end().to_owned()
    }

    /// The line for an event of this message.
    pub fn event(&self, history: &History, what: &str, at: Duration) -> String {
        let (title, width) = match self.system {
            0 => (history.message.title.to_owned(), EVENT_TITLE),
            _ => (cut(history.message.title, SHORT_EVENT_TITLE), SHORT_EVENT_TITLE),
        };
        let label = self.system_of(history);
        format!("  {:>5} s  {label}{title:<width$}  {what}\n", seconds(at))
    }

    fn system_of(&self, history: &History) -> String {
        self.padded(fakes::of(history.message.system).label)
    }

    /// What stands in the column with the system, and the blanks after it.
    fn padded(&self, label: &str) -> String {
        let width = self.system;
        if width == 0 { String::new() } else { format!("{label:<width$}") }
    }
}

fn finished(at: Duration, finish: Finish) -> String {
    match finish {
        Finish::AtOnce => "  at once".to_owned(),
        Finish::Done => format!("{:>5} done", seconds(at)),
        Finish::Answered(answer) => format!("{:>5} {answer}", seconds(at)),
    }
}

/// How far a message has got.
fn outcome(history: &History) -> String {
    let noun = fakes::of(history.message.system).noun;
    match history {
        History { parked: Some((at, cause)), .. } => format!("{} parked: {cause}", seconds(*at)),
        History { recognised: Some(at), .. } => format!("{} known, no second task", seconds(*at)),
        History { answered: Some(at), created: Some((_, id)), .. } => format!("{} {noun} {id} answered", seconds(*at)),
        History { created: Some((at, id)), .. } => format!("{} {noun} {id} created", seconds(*at)),
        History { published: Some(at), .. } => format!("{} sent", seconds(*at)),
        _ => String::new(),
    }
}

fn time(at: Option<Duration>) -> String {
    at.map(seconds).unwrap_or_default()
}

fn seconds(at: Duration) -> String {
    format!("{:.2}", at.as_secs_f64())
}

fn cut(title: &str, width: usize) -> String {
    if title.chars().count() <= width {
        return title.to_owned();
    }
    title.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::super::audit::Audit;
    use super::*;
    use crate::commands::fakes::{FAKES, USUAL};

    #[test]
    fn no_line_of_the_table_is_wider_than_the_screen() {
        let at = Duration::from_millis(12_345);
        let every = FAKES.iter().flat_map(|entry| (entry.messages)("run")).collect();
        for messages in [(USUAL.messages)("run"), every] {
            let mut audit = Audit::open(messages);
            for history in &mut audit.histories {
                (history.published, history.answered) = (Some(at), Some(at));
                (history.created, history.finished) =
                    (Some((at, "999999".into())), Some((at, Finish::Answered("НЕТ"))));
            }
            audit.histories[4].recognised = Some(at);
            audit.histories[5].parked = Some((at, "INVALID_MESSAGE".into()));
            let layout = Layout::of(&audit.histories);
            for width in [layout.narrowest(), 79, 80, 200] {
                let lines = layout.table(&audit.histories, width);
                assert!(lines.iter().all(|line| line.chars().count() < width), "{width}: {lines:#?}");
            }
        }
    }

    #[test]
    fn a_message_is_shown_with_its_system_where_there_are_several() {
        let shown = |messages| {
            let audit = Audit::open(messages);
            let layout = Layout::of(&audit.histories);
            (layout.table(&audit.histories, 80).join("\n"), layout.event(&audit.histories[0], "sent", Duration::ZERO))
        };
        let (table, event) = shown((USUAL.messages)("run"));
        assert!(!table.contains("Bitrix24") && !event.contains("Bitrix24"), "{table}\n{event}");
        let (table, event) = shown(FAKES.iter().flat_map(|entry| (entry.messages)("run")).collect());
        assert!(FAKES.iter().all(|entry| table.contains(&format!("\n  {} ", entry.label))), "{table}");
        assert!(event.contains("  Bitrix24") && event.contains("  Согласовать договор …  sent"), "{event}");
    }
}
