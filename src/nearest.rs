//! Finds the name that a user has misspelt. It knows no names itself.

/// With fewer letters too many names begin.
const SHORTEST_BEGINNING: usize = 4;

/// The nearest of `names`, if one is near: at most a third of the letters may differ, and no more than three.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let most = written.chars().count().div_ceil(3).min(3);
    let near = names.into_iter().map(|name| (distance(&written, &name.to_lowercase()), name));
    near.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// "; did you mean NAME?", or nothing: the nearest name, or else the shortest one that begins so.
pub fn did_you_mean<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let beginning = written.to_lowercase();
    let begins = |name: &&str| beginning.len() >= SHORTEST_BEGINNING && name.to_lowercase().starts_with(&beginning);
    let begun = || names.iter().copied().filter(begins).min_by_key(|name| name.len());
    nearest(written, names.iter().copied())
        .or_else(begun)
        .map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// How many letters must be changed, added, removed or swapped with the next one to turn one name into the other.
pub fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // The row before the last one: a swap looks back to it.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let changed = last[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut least = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_found_and_a_foreign_word_is_not() {
        let names = ["send", "sandbox", "check", "parked", "--create-field"];
        for (written, meant) in [
            ("sned", Some("send")),
            ("chek", Some("check")),
            ("SEND", Some("send")),
            ("--create-feild", Some("--create-field")),
            ("--createfield", Some("--create-field")),
            ("sandbocks", Some("sandbox")),
            ("start", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, names), meant, "{written}");
        }
    }

    #[test]
    fn the_beginning_of_a_name_is_enough() {
        let names = ["BITRIX_WEBHOOK_URL_FILE", "BITRIX_WEBHOOK_URL", "PREFETCH"];
        assert_eq!(did_you_mean("BITRIX_WEBHOOK", names), "; did you mean BITRIX_WEBHOOK_URL?");
        assert_eq!((did_you_mean("PRE", names), did_you_mean("xyz", names)), (String::new(), String::new()));
    }
}
