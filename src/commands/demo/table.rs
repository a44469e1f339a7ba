//! How the demo looks: its table, and the line for each event. Pure text; where it is written is not known here.

use std::fmt::Write as _;
use std::time::Duration;

use super::account::Way;
use super::messages::Kind;
use super::screen::NARROWEST;

/// What all columns but the first take up.
const OTHER_COLUMNS: usize = 46;
/// Titles are not cut below this.
const SHORTEST_TITLE: usize = 12;

/// The table, for a screen of this width.
pub fn table(ways: &[Way], width: usize) -> Vec<String> {
    if width < NARROWEST {
        return ways
            .iter()
            .flat_map(|way| [format!("  {}", way.message.title), format!("    {}", outcome(way))])
            .collect();
    }
    let longest = ways.iter().map(|way| way.message.title.chars().count()).max().unwrap_or_default();
    let title = width.saturating_sub(OTHER_COLUMNS + 1).clamp(SHORTEST_TITLE, longest.max(SHORTEST_TITLE));
    let head = format!("  {:title$}  {:>5}  {:<10}  {:<10}  {}", "message", "sent", "created", "finished", "answered");
    [head].into_iter().chain(ways.iter().map(|way| row(way, title))).collect()
}

fn row(way: &Way, width: usize) -> String {
    let mut row = format!("  {:width$}  {:>5}  ", cut(way.message.title, width), time(way.published));
    let written = match (&way.message.kind, &way.parked, way.recognised) {
        (_, Some((at, cause)), _) => write!(row, "{:>5} parked: {cause}", seconds(*at)),
        (Kind::Again(_), None, Some(at)) => write!(row, "{:>5} known, no second task", seconds(at)),
        (Kind::Task(_) | Kind::Again(_) | Kind::Unreadable, None, _) => {
            let created = way.created.map(|(at, id)| format!("{:>5} #{id}", seconds(at))).unwrap_or_default();
            let finished = way.finished.map(|(at, answer)| format!("{:>5} {}", seconds(at), answer.unwrap_or("done")));
            write!(row, "{created:<10}  {:<10}  {:>5}", finished.unwrap_or_default(), time(way.answered))
        }
    };
    written.expect("a text can be written to");
    row.trim_end().to_owned()
}

/// How far a message has got.
fn outcome(way: &Way) -> String {
    match way {
        Way { parked: Some((at, cause)), .. } => format!("{} parked: {cause}", seconds(*at)),
        Way { recognised: Some(at), .. } => format!("{} known, no second task", seconds(*at)),
        Way { answered: Some(at), created: Some((_, id)), .. } => format!("{} task {id} answered", seconds(*at)),
        Way { created: Some((at, id)), .. } => format!("{} task {id} created", seconds(*at)),
        Way { published: Some(at), .. } => format!("{} sent", seconds(*at)),
        _ => String::new(),
    }
}

/// The line for what just happened to this message.
pub fn event(way: &Way, what: &str, at: Duration) -> String {
    let title = way.message.title;
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
    use super::super::account::Account;
    use super::super::messages;
    use super::*;

    #[test]
    fn no_line_of_the_table_is_wider_than_the_screen() {
        let at = Duration::from_millis(12_345);
        let mut account = Account::open(messages::all("run"));
        for way in &mut account.ways {
            (way.published, way.answered) = (Some(at), Some(at));
            (way.created, way.finished) = (Some((at, 6)), Some((at, Some("НЕТ"))));
        }
        account.ways[4].recognised = Some(at);
        account.ways[5].parked = Some((at, "INVALID_MESSAGE".into()));
        for width in [60, 79, 80, 200] {
            let lines = table(&account.ways, width);
            assert!(lines.iter().all(|line| line.chars().count() < width), "{width}: {lines:#?}");
        }
    }
}
