use std::env;
use std::os::unix::fs::{chown, symlink};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("task-creator-init-{}-{number}", process::id()));
        fs::create_dir(&folder).expect("a new name");
        Folder(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("our own folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn value(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    vec![(name, value.to_owned())]
}

#[track_caller]
fn write(file: &Path, values: &[(&str, String)]) {
    Dotenv::find(file).expect("it can be read").write(values, None).expect("it can be written");
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).expect("it is there").mode() & 0o777
}

#[test]
fn any_value_is_read_back_as_it_was_given() {
    for given in
        ["plain", "a b", "#x", "a # b", "it's", r"\", r"\'", r"a\", "\"q\"", "'q'", "$HOME", "пароль", " b ", "${"]
    {
        let text = with_values(HEAD, &value("RABBITMQ_PASSWORD", given));
        assert_eq!(read_back(&text, "RABBITMQ_PASSWORD").as_deref(), Some(given), "{text}");
    }
    let folder = Folder::new();
    let dotenv = Dotenv::find(&folder.file(".env")).expect("there is none");
    assert!(dotenv.write(&value("RABBITMQ_PASSWORD", "a${HOME}b"), None).is_err(), "it would be replaced");
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn only_the_lines_of_new_values_change() {
    let old =
        "\u{feff}# mine\r\nexport A=1 # why\r\n\r\nB='one\r\ntwo'\r\nOTHER=x y\r\nwrong line\nA_FILE=a.txt\nB=3\n";
    let changed = with_values(old, &[value("A", "2"), value("B", "4 4"), value("C", "5")].concat());
    assert_eq!(changed, "# mine\n\nOTHER=x y\nwrong line\nA=2\nB='4 4'\nC=5\n");
    assert_eq!(with_values("A=1", &value("C", "2")), "A=1\nC=2\n");
}

#[test]
fn a_new_file_is_for_its_owner_only_and_nothing_else_is_left() {
    let folder = Folder::new();
    let file = folder.file(".env");
    write(&file, &value("A", "1"));
    assert_eq!((mode(&file), folder.names()), (0o600, vec![".env".to_owned()]));
    assert!(fs::read_to_string(&file).expect("it is text").ends_with("\nA=1\n"));
    for (before, after) in [(0o644, 0o640), (0o640, 0o640), (0o600, 0o600), (0o400, 0o600)] {
        fs::set_permissions(&file, Permissions::from_mode(before)).expect("it is ours");
        write(&file, &value("A", "2"));
        assert_eq!(mode(&file), after, "{before:o}");
    }
}

#[test]
fn a_link_stays_and_the_file_behind_it_is_replaced_whether_it_is_there_or_not() {
    let folder = Folder::new();
    let (link, target) = (folder.file(".env"), folder.file("task-creator.env"));
    symlink("task-creator.env", &link).expect("a new name");
    for number in ["1", "2"] {
        write(&link, &value("A", number));
        assert_eq!(fs::read_link(&link).expect("it is a link"), Path::new("task-creator.env"));
        assert!(fs::read_to_string(&target).expect("it is text").ends_with(&format!("\nA={number}\n")));
    }
    assert_eq!(folder.names(), [".env", "task-creator.env"]);
}

#[test]
fn a_folder_that_takes_no_file_is_told_before_anything_is_asked() {
    let folder = Folder::new();
    symlink("nowhere/.env", folder.file(".env")).expect("a new name");
    let told = Dotenv::find(&folder.file(".env")).err().expect("there is no such folder").to_string();
    assert!(told.contains("nowhere/.env cannot be written"), "{told}");
}

#[test]
fn what_root_makes_in_the_folder_of_a_user_is_for_that_user() {
    let folder = Folder::new();
    // Only root can give a folder away.
    if chown(&folder.0, Some(12_345), Some(12_346)).is_ok() {
        write(&folder.file(".env"), &value("RABBITMQ_HOST", "rmq.example"));
        let made = fs::metadata(folder.file(".env")).expect("it is there");
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (12_345, 12_346, 0o600));
        let other = Dotenv::find(&folder.file("other")).expect("there is none");
        other.write(&value("RABBITMQ_HOST", "rmq.example"), Some(12_347)).expect("it can be written");
        assert_eq!(fs::metadata(folder.file("other")).expect("it is there").uid(), 12_347, "the service's user");
    }
}

#[test]
fn what_others_have_changed_meanwhile_and_what_is_no_file_stay() {
    let folder = Folder::new();
    let file = folder.file(".env");
    fs::write(&file, "A=1\n").expect("our own folder");
    let dotenv = Dotenv::find(&file).expect("it is text");
    fs::write(&file, "A=theirs\n").expect("our own folder");
    let refused = dotenv.write(&value("A", "2"), None).expect_err("it has changed");
    assert!(format!("{refused:#}").contains("somebody has changed it meanwhile"), "{refused:#}");
    assert_eq!(fs::read_to_string(&file).expect("it is text"), "A=theirs\n");
    assert_eq!(folder.names(), [".env"]);
    assert!(Dotenv::find(&folder.0).is_err(), "a folder");
}
