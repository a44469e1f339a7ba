//! Which parts are recognised, and which error counts. Tests with a portal are in `tests/`.

use super::*;

fn lists(lists: &[(&str, &[&str])]) -> Vec<Part> {
    let lines = |lines: &[&str]| lines.iter().map(|line| line.to_string()).collect::<Vec<_>>();
    lists.iter().enumerate().map(|(position, (name, items))| Part::new(position, name, &lines(items))).collect()
}

fn item(id: &str, parent: &str, title: &str, place: u64) -> Item {
    Item { id: id.into(), parent: parent.into(), title: title.into(), place: Some(place) }
}

/// The ids of a list's lines, after its own; a dash for each missing one.
fn recognised(mut lists: Vec<Part>, items: &[Item]) -> Vec<Vec<String>> {
    recognise(&mut lists, items, "0");
    let id = |part: &Part| part.id.clone().unwrap_or_else(|| "-".into());
    lists.iter().map(|list| [id(list)].into_iter().chain(list.lines.iter().map(id)).collect()).collect()
}

#[test]
fn parts_that_people_renamed_added_or_ticked_are_recognised_or_left_alone() {
    let wanted = lists(&[("Документы", &["Устав", "Доверенность", "Счёт"])]);
    let items = [
        item("1", "0", "Документы (наши)", 100),
        item("2", "1", "Устав 2026", 100),
        item("3", "1", " Доверенность ", 200),
        // A line that a person has put under our list.
        item("4", "1", "Паспорт", 201),
    ];
    assert_eq!(recognised(wanted, &items), [["1", "2", "3", "-"]]);
}

#[test]
fn parts_with_the_same_title_are_each_recognised() {
    let twice: &[(&str, &[&str])] = &[("Документы", &["Копия", "Копия"]), ("Документы", &["Копия"])];
    let items = [item("9", "0", "Документы", 200), item("10", "9", "Копия", 100), item("8", "0", "Документы", 100)];
    assert_eq!(recognised(lists(twice), &items), [vec!["8", "-", "-"], vec!["9", "10"]]);
    // Only the later of the two exists.
    assert_eq!(recognised(lists(twice), &items[..2]), [vec!["-", "-", "-"], vec!["9", "10"]]);
}

#[test]
fn a_line_of_another_list_is_another_line() {
    let wanted = lists(&[("A", &["x"]), ("B", &["x"])]);
    let items = [item("1", "0", "A", 100), item("2", "0", "B", 200), item("3", "2", "x", 100)];
    assert_eq!(recognised(wanted, &items), [["1", "-"], ["2", "3"]]);
}

#[test]
fn parts_that_the_previous_worker_added_upside_down_are_recognised_by_title() {
    let wanted = lists(&[("A", &["x", "y"])]);
    let items = [item("1", "0", "A", 0), item("3", "1", "y", 0), item("2", "1", "x", 1)];
    assert_eq!(recognised(wanted, &items), [["1", "2", "3"]]);
}

#[test]
fn an_unknown_outcome_does_not_hide_behind_another_error() {
    let err = |kind| ApiError::new(kind, String::new());
    for (known, new, counts) in [
        (Kind::Unknown, Kind::Refused, Kind::Unknown),
        (Kind::Unknown, Kind::Unreachable, Kind::Unknown),
        (Kind::Unreachable, Kind::Refused, Kind::Unreachable),
        (Kind::Refused, Kind::Unreachable, Kind::Unreachable),
        (Kind::Refused, Kind::Unknown, Kind::Unknown),
    ] {
        assert_eq!(worse(Some(err(known)), err(new)).kind, counts);
    }
    assert_eq!(worse(None, err(Kind::Refused)).kind, Kind::Refused);
}
