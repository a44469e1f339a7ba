//! What bash, zsh and fish need to complete commands, actions, options, their values and the names of settings, made of
//! the table of commands. A script knows where on the command line it is by the command and the action before the
//! cursor, its place, written as a path: `/parked/replay`.

mod bash;
mod fish;
mod zsh;

use super::grammar::{OPTIONS, Offers, TOPICS, Topic, Word, about_option};
use crate::terminal::shortened;

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    /// All that we know.
    pub const ALL: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        }
    }

    /// The script that it reads.
    pub fn script(self) -> String {
        match self {
            Shell::Bash => bash::script(),
            Shell::Zsh => zsh::script(),
            Shell::Fish => fish::script(),
        }
    }
}

/// The most characters of a description.
const LONGEST: usize = 60;

/// A place on the command line, and what may stand there.
struct Place {
    /// The command and the action before it, as a path.
    path: String,
    /// Commands, actions and other words.
    words: Vec<Candidate>,
    options: Vec<Candidate>,
    /// Files may stand there too.
    files: bool,
}

/// What a shell may offer at a place.
struct Candidate {
    name: String,
    /// In few words, or nothing.
    about: String,
    /// What may follow it; `None` if it takes no value.
    value: Option<Offers>,
}

impl Candidate {
    fn new(name: impl Into<String>, about: &str) -> Candidate {
        // The first clause says enough.
        let end = about.find(['(', ';', ':']).filter(|end| *end > 20).unwrap_or(about.len());
        Candidate { name: name.into(), about: shortened(about[..end].trim_end(), LONGEST), value: None }
    }

    fn option(option: &Word) -> Candidate {
        let value = (!option.takes.is_empty()).then_some(option.offers);
        // Actions that it is for are known from the place.
        let about = if option.of.contains(&"") { about_option(option) } else { option.about.to_owned() };
        Candidate { value, ..Candidate::new(option.name, &about) }
    }
}

/// All places.
fn places() -> Vec<Place> {
    let commands = TOPICS.iter().map(|topic| Candidate::new(topic.name, topic.about)).collect();
    let own = OPTIONS.iter().flat_map(|(short, long, about)| [short, long].map(|name| Candidate::new(*name, about)));
    let first = Place { path: String::new(), words: commands, options: own.collect(), files: false };
    let others = TOPICS.iter().flat_map(|topic| {
        let actions = topic.actions.iter().map(|action| Candidate::new(action.name, action.about));
        let without = place(topic, "", topic.offers, actions.collect());
        let with = topic.actions.iter().map(|action| place(topic, action.name, action.offers, Vec::new()));
        [without].into_iter().chain(with)
    });
    [first].into_iter().chain(others).collect()
}

fn place(topic: &Topic, action: &str, offers: Offers, mut words: Vec<Candidate>) -> Place {
    words.extend(names(offers).into_iter().map(|name| Candidate::new(name, "")));
    let options = topic.options_of(action).map(Candidate::option);
    let help = Candidate::new("--help", "print the help of this command");
    let path = if action.is_empty() { format!("/{}", topic.name) } else { format!("/{}/{action}", topic.name) };
    Place { path, words, options: options.chain([help]).collect(), files: matches!(offers, Offers::Files) }
}

fn names(offers: Offers) -> Vec<String> {
    match offers {
        Offers::Names(names) => names(),
        Offers::Nothing | Offers::Files => Vec::new(),
    }
}

/// The paths of all places but the first.
fn paths(places: &[Place]) -> Vec<&str> {
    places.iter().map(|place| place.path.as_str()).filter(|path| !path.is_empty()).collect()
}

/// The options that take a value, each behind the path of its place, and what may follow them.
fn values(places: &[Place]) -> impl Iterator<Item = (String, Offers)> {
    places.iter().flat_map(|place| {
        let value = |option: &Candidate| Some((format!("{}/{}", place.path, option.name), option.value?));
        place.options.iter().filter_map(value)
    })
}

/// A script of `case`s, with the paths, the values and the words of all places.
fn filled(script: &str, places: &[Place], values: &str, words: &str) -> String {
    script.replace("PATHS", &paths(places).join(" | ")).replace("VALUES\n", values).replace("WORDS\n", words)
}

fn list(candidates: &[Candidate]) -> String {
    candidates.iter().map(|candidate| candidate.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_offers_what_may_stand_there() {
        let places = places();
        let at = |path: &str| {
            let place = places.iter().find(|place| place.path == path).expect(path);
            (list(&place.words), list(&place.options), place.files)
        };
        assert_eq!(at("/parked/export"), (String::new(), "--force --help".into(), true));
        assert_eq!(at("/parked").1, "--help");
        assert_eq!(at("/control/sweep").1, "--json --help");
        assert_eq!(at("/print/completions").0, "bash zsh fish");
        assert!(at("/help").0.contains("RABBITMQ_PASSWORD_FILE") && at("").0.starts_with("run check send "));
        assert_eq!(at("").1, "-h --help -V --version");
    }

    #[test]
    fn a_description_is_short_and_no_quote_ends_it() {
        for place in places() {
            for Candidate { name, about, .. } in place.words.iter().chain(&place.options) {
                assert!(
                    about.chars().count() <= LONGEST + 1 && !name.contains(['\'', ' ', '"', '$']),
                    "{name}: {about}"
                );
            }
        }
    }
}
