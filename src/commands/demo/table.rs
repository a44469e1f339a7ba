//! The text of the demo's table, and of the line for each event. It does not know where the text is written.

use std::fmt::Write as _;
use std::time::Duration;

use super::audit::History;
use super::messages::Kind;
use super::screen::NARROWEST;

/// The width of all columns but the first.
const OTHER_COLUMNS: usize = 45;
/// Titles are not cut shorter than this.
const SHORTEST_TITLE: usize = 12;

/// The table, for a screen of this width.
pub fn table(histories: &[History], width: usize) -> Vec<String> {
    if width < NARROWEST {
        return histories
            .iter()
            .flat_map(|history| [format!("  {}", history.message.title), format!("    {}", outcome(history))])
            .collect();
    }
    let longest = histories.iter().map(|history| history.message.title.chars().count()).max().unwrap_or_default();
    let title = width.saturating_sub(OTHER_COLUMNS + 1).clamp(SHORTEST_TITLE, longest.max(SHORTEST_TITLE));
    let head = format!("  {:title$}  {:>5}  {:<12}  {:<10}  {}", "message", "sent", "created", "finished", "answered");
    [head].into_iter().chain(histories.iter().map(|history| row(history, title))).collect()
}

fn row(history: &History, width: usize) -> String {
    let mut row = format!("  {:width$}  {:>5}  ", cut(history.message.title, width), time(history.published));
    let written = match (&history.message.kind, &history.parked, history.recognised) {
        (_, Some((at, cause)), _) => write!(row, "{:>5} parked: {cause}", seconds(*at)),
        (Kind::Again(_), None, Some(at)) => write!(row, "{:>5} known, no second task", seconds(at)),
        (Kind::Task(_) | Kind::Again(_) | Kind::Unreadable, None, _) => {
            let created = history.created.map(|(at, id)| format!("{:>5} #{id}", seconds(at))).unwrap_or_default();
            let finished =
                history.finished.map(|(at, answer)| format!("{:>5} {}", seconds(at), answer.unwrap_or("done")));
            write!(row, "{created:<12}  {:<10}  {:>5}", finished.unwrap_or_default(), time(history.answered))
        }
    };
    written.expect("writing to a String cannot fail");
    row.trim_end().to_owned()
}

/// How far a message has got.
fn outcome(history: &History) -> String {
    match history {
        History { parked: Some((at, cause)), .. } => format!("{} parked: {cause}", seconds(*at)),
        History { recognised: Some(at), .. } => format!("{} known, no second task", seconds(*at)),
        History { answered: Some(at), created: Some((_, id)), .. } => format!("{} task {id} answered", seconds(*at)),
        History { created: Some((at, id)), .. } => format!("{} task {id} created", seconds(*at)),
        History { published: Some(at), .. } => format!("{} sent", seconds(*at)),
        _ => String::new(),
    }
}

/// The line for an event of this message.
pub fn event(history: &History, what: &str, at: Duration) -> String {
    let title = history.message.title;
    format!("  {:>5} s  {title:<33}  {what}\n", seconds(at))
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
    use super::super::messages;
    use super::*;

    #[test]
    fn no_line_of_the_table_is_wider_than_the_screen() {
        let at = Duration::from_millis(12_345);
        let mut audit = Audit::open(messages::all("run"));
        for history in &mut audit.histories {
            (history.published, history.answered) = (Some(at), Some(at));
            (history.created, history.finished) = (Some((at, 999_999)), Some((at, Some("НЕТ"))));
        }
        audit.histories[4].recognised = Some(at);
        audit.histories[5].parked = Some((at, "INVALID_MESSAGE".into()));
        for width in [60, 79, 80, 200] {
            let lines = table(&audit.histories, width);
            assert!(lines.iter().all(|line| line.chars().count() < width), "{width}: {lines:#?}");
        }
    }
}
