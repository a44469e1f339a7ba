//! `task-creator install-service`: prints the unit for systemd with the paths of this machine, and what to run.
//!
//! It changes nothing. The unit is the file that the packages have; here only its paths, its user and its first comment
//! are replaced. What the rest of it means is in the file itself.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use anyhow::{Context as _, bail};
use lexopt::{Arg, Parser};

use super::arguments::{unexpected, value};
use super::{grammar, settings};
use crate::terminal::{self, shell_word};

/// The unit with the paths of the packages.
pub const UNIT: &str = include_str!("../packaging/task-creator.service");
/// Whom the unit names, and who is proposed where the folder is root's.
const USUAL_USER: &str = "task-creator";
/// Hidden by the unit's `ProtectHome`.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// Replaced by the unit's `PrivateTmp`.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// The options of `install-service`.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose rights the worker gets; when absent, the owner of the folder.
    pub user: Option<String>,
}

/// The options; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut user = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("user") => user = Some(value(parser, "--user", "the name of a user, not root", user_name)?),
            other => return Err(unexpected(&other, &grammar::options("install-service", ""))),
        }
    }
    Ok(Some(Options { user }))
}

/// As useradd takes it. The worker needs no right of root.
fn user_name(name: &str) -> Option<String> {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "_-.".contains(sign);
    let is_name = !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain);
    (is_name && name != "root" && name != "0").then(|| name.to_owned())
}

/// Prints the unit; the commands that install it are its first comment.
///
/// # Errors
/// The folder or the program is not where a service can use it.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let folder = env::current_dir().context("the current folder")?;
    let program = env::current_exe().context("the path of this program")?;
    // What is wrong with the settings is said by `check`, which comes first.
    let log_dir = settings().ok().and_then(|setup| setup.config.log_dir);
    // Where there are no log files, an empty folder does no harm.
    let logs = normalized(&folder.join(log_dir.unwrap_or_else(|| "logs".into())));
    let owner = fs::metadata(&folder).with_context(|| folder.display().to_string())?.uid();
    let users = users(&[options.user.as_deref().unwrap_or_default(), &owner.to_string()]);
    let user = options.user.clone().unwrap_or_else(|| owner_name(&users, owner));
    if is_number(&user) && !names(&users).any(|(_, id)| id.to_string() == user) {
        bail!("{user} is no user of this machine: give the folder to one, or name one with --user");
    }
    let place = Place { program, folder, logs, user };
    place.check()?;
    terminal::print(&format!("{}{}", place.steps(&users, options), place.unit()));
    Ok(ExitCode::SUCCESS)
}

/// The users in `/etc/passwd`, and these, who may be known elsewhere (LDAP).
pub fn users(others: &[&str]) -> String {
    let mut users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    for other in others {
        if other.is_empty() || names(&users).any(|(name, id)| name == *other || id.to_string() == **other) {
            continue;
        }
        let found = Command::new("getent").args(["passwd", other]).stderr(Stdio::null()).output();
        users += &found.map(|found| String::from_utf8_lossy(&found.stdout).into_owned()).unwrap_or_default();
    }
    users
}

/// The path without `.` and `..`, as systemd wants it.
fn normalized(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

/// Who is proposed for a folder of this owner.
fn owner_name(users: &str, owner: u32) -> String {
    match owner {
        0 => USUAL_USER.to_owned(),
        // A number that nobody has is refused later.
        _ => names(users).find(|(_, id)| *id == owner).map_or_else(|| owner.to_string(), |(name, _)| name.to_owned()),
    }
}

fn is_number(user: &str) -> bool {
    user.chars().all(|sign| sign.is_ascii_digit())
}

/// The users in this `/etc/passwd`, with their ids.
pub fn names(users: &str) -> impl Iterator<Item = (&str, u32)> {
    users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    })
}

/// What the unit is made of.
struct Place {
    program: PathBuf,
    folder: PathBuf,
    logs: PathBuf,
    user: String,
}

impl Place {
    fn check(&self) -> anyhow::Result<()> {
        for path in self.paths() {
            if is_within(path, &TEMPORARY) {
                bail!(
                    "{} is a temporary file for the service, which does not see it: move it, for example to /opt",
                    path.display()
                );
            }
            // A backslash at the end of a line goes on in the next one, a colon parts two paths.
            let is_wrong = |text: &str| text.contains(char::is_control) || text.ends_with('\\') || text.contains(':');
            if path.to_str().is_none_or(is_wrong) {
                bail!("{} cannot be written in a unit: rename it", path.display());
            }
        }
        // It is given to the worker's user, so nothing else may be in it.
        if self.folder.starts_with(&self.logs) || !has_only_logs(&self.logs) {
            bail!(
                "{} is given to the worker's user, and holds other files: move them, or set LOG_DIR to a folder of its \
                 own",
                self.logs.display()
            );
        }
        Ok(())
    }

    fn paths(&self) -> [&Path; 3] {
        [&self.program, &self.folder, &self.logs]
    }

    fn unit(&self) -> String {
        let logs = quoted(&self.logs);
        let lines = UNIT.lines().skip_while(|line| line.starts_with('#')).map(|line| match line.split_once('=') {
            Some(("User", _)) => format!("User={}", self.user),
            Some(("WorkingDirectory", _)) => format!("WorkingDirectory={}", unspecified(&self.folder)),
            // A path may have a $ in it, which only here means something.
            Some(("ExecStart", _)) => format!("ExecStart={}", quoted(&self.program).replace('$', "$$")),
            Some(("LogsDirectory", _)) => format!("ReadWritePaths={logs}"),
            Some(("LogsDirectoryMode", _)) => String::new(),
            Some(("ProtectHome", _)) => self.homes(),
            _ => line.to_owned(),
        });
        let lines: Vec<String> = lines.collect();
        lines.join("\n").replace(&format!("{logs}\n\n"), &format!("{logs}\n")) + "\n"
    }

    /// No home is seen but what the worker needs of it.
    fn homes(&self) -> String {
        let seen: Vec<String> = [&self.program, &self.folder]
            .into_iter()
            .filter(|path| is_within(path, &HOMES))
            .map(|path| format!("BindReadOnlyPaths={}", quoted(path)))
            .collect();
        let written = is_within(&self.logs, &HOMES).then(|| format!("BindPaths={}", quoted(&self.logs)));
        match seen.is_empty() && written.is_none() {
            true => "ProtectHome=yes".to_owned(),
            false => {
                ["ProtectHome=tmpfs".to_owned()].into_iter().chain(seen).chain(written).collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// The commands that install it, as a comment.
    fn steps(&self, users: &str, options: &Options) -> String {
        let Place { folder, logs, user, .. } = self;
        let word = |path: &Path| shell_word(&path.to_string_lossy()).into_owned();
        let dotenv = folder.join(super::DOTENV);
        let mut steps = vec![format!("cd {}", word(folder)), terminal::command(&["check"])];
        let named: Vec<&str> = options.user.iter().flat_map(|user| ["--user", user]).collect();
        let print = terminal::command(&[&["install-service"], named.as_slice()].concat());
        // While the settings can still be read by who is asking.
        steps.push(format!("{print} | sudo tee /etc/systemd/system/task-creator.service > /dev/null"));
        if !is_number(user) && !names(users).any(|(name, _)| name == user) {
            steps.push(format!("sudo useradd --system --home-dir {} --shell /usr/sbin/nologin {user}", word(folder)));
        }
        steps.push(format!("sudo install --directory --owner={user} --mode=750 {}", word(logs)));
        steps.push(format!("sudo chown -R {user} {}", word(logs)));
        if dotenv.exists() {
            steps.push(format!("sudo chown {user} {}", word(&dotenv)));
        }
        steps.push("sudo systemctl daemon-reload".into());
        steps.push("sudo systemctl enable --now task-creator".into());
        let listed: String = steps.iter().map(|step| format!("#   {step}\n")).collect();
        format!(
            "\
# Nothing is changed yet. First stop a worker that was started by hand, and take
# its line out of `crontab -e`. Then install and start the service:
#
{listed}#
# `systemctl status task-creator` says how it is. `sudo systemctl disable --now
# task-creator` goes back.
"
        )
    }
}

/// Whether nothing but the worker's files is in this folder. One that is not there yet has nothing.
fn has_only_logs(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return true };
    entries.flatten().all(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("worker") || name == "demo" || name == ".gitkeep"
    })
}

fn is_within(path: &Path, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

/// A path for a unit, where % starts a specifier.
fn unspecified(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

/// The same where a list or a command is expected.
fn quoted(path: &Path) -> String {
    let path = unspecified(path);
    let is_plain = |sign: char| !sign.is_whitespace() && !"\"'\\;".contains(sign);
    match path.chars().all(is_plain) {
        true => path,
        false => format!("\"{}\"", path.replace('\\', r"\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &str) -> Place {
        let folder = PathBuf::from(folder);
        Place { program: folder.join("task-creator"), logs: folder.join("logs"), folder, user: "anna".into() }
    }

    #[test]
    fn only_paths_and_the_user_differ_from_the_packages_unit() {
        let unit = place("/opt/task-creator").unit();
        let other: Vec<&str> = unit.lines().filter(|line| !UNIT.lines().any(|known| known == *line)).collect();
        let own = [
            "User=anna",
            "WorkingDirectory=/opt/task-creator",
            "ExecStart=/opt/task-creator/task-creator",
            "ReadWritePaths=/opt/task-creator/logs",
        ];
        assert_eq!(other, own);
        let left: Vec<&str> =
            UNIT.lines().filter(|line| !line.starts_with('#') && !unit.lines().any(|known| known == *line)).collect();
        assert_eq!(left.len(), own.len() + 1, "LogsDirectoryMode too: {left:?}");
    }

    #[test]
    fn of_the_homes_only_the_folder_is_seen_and_only_the_logs_are_written() {
        let unit = place("/home/anna/task-creator").unit();
        let seen = "ProtectHome=tmpfs\nBindReadOnlyPaths=/home/anna/task-creator/task-creator\n\
                    BindReadOnlyPaths=/home/anna/task-creator\nBindPaths=/home/anna/task-creator/logs\n";
        assert!(unit.contains(seen), "{unit}");
    }

    #[test]
    fn any_path_stays_one_path() {
        let unit = place("/srv/my 100% \"$x\\y").unit();
        for line in [
            "WorkingDirectory=/srv/my 100%% \"$x\\y",
            r#"ExecStart="/srv/my 100%% \"$$x\\y/task-creator""#,
            r#"ReadWritePaths="/srv/my 100%% \"$x\\y/logs""#,
        ] {
            assert!(unit.lines().any(|known| known == line), "{line}\n{unit}");
        }
        for wrong in ["/tmp/here", "/srv/a\nb", "/srv/a\\", "/home/a:b"] {
            assert!(place(wrong).check().is_err(), "{wrong}");
        }
        assert!(place("/srv/here").check().is_ok());
    }

    #[test]
    fn a_folder_for_logs_is_for_them_alone() {
        for logs in ["/", "/srv", "/srv/x", "/usr"] {
            let place = Place { logs: logs.into(), ..place("/srv/x") };
            assert!(place.check().is_err_and(|err| err.to_string().contains("a folder of its own")), "{logs}");
        }
        assert_eq!(normalized(Path::new("/opt/x/.././logs/")), Path::new("/opt/logs"));
    }

    #[test]
    fn the_owner_of_the_folder_is_proposed_and_a_new_user_is_made() {
        let users = "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        let proposed = [0, 1000, 1001].map(|owner| owner_name(users, owner));
        assert_eq!(proposed, ["task-creator", "anna", "1001"]);
        let steps = |user: &str| {
            let options = Options { user: Some(user.into()) };
            Place { user: user.into(), ..place("/srv/x") }.steps(users, &options)
        };
        assert!(!steps("anna").contains("useradd") && !steps("1001").contains("useradd"));
        assert!(steps("berta").contains("useradd --system"));
        assert!(steps("berta").contains("install-service --user berta | sudo tee /etc/systemd/system/"));
        assert!(steps("berta").lines().all(|line| line.starts_with('#')));
        assert_eq!(["root", "0", "", "-x", "a b", "x;y"].map(user_name), [const { None }; 6]);
    }
}
