//! Which service of systemd reads the `.env` of a folder, as its unit says. It asks no systemd and changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::commands::install_service::{names, users};

/// Where units are: made by hand, and by the packages. The first one that is there counts.
const UNITS: [&str; 2] = ["/etc/systemd/system/task-creator.service", "/usr/lib/systemd/system/task-creator.service"];

/// The service that is installed on this machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// Where its `.env` is.
    pub folder: PathBuf,
    /// Whose rights it has.
    pub user: String,
}

impl Service {
    /// The installed one, if there is one.
    pub fn installed() -> Option<Service> {
        UNITS.iter().find_map(|unit| fs::read_to_string(unit).ok()).and_then(|unit| Service::of(&unit))
    }

    fn of(unit: &str) -> Option<Service> {
        let value = |name: &str| unit.lines().rev().find_map(|line| line.strip_prefix(name));
        let folder = value("WorkingDirectory=")?.replace("%%", "%").into();
        Some(Service { folder, user: value("User=")?.to_owned() })
    }

    /// Whether it reads the `.env` of this folder.
    pub fn is_in(&self, folder: &Path) -> bool {
        fs::canonicalize(&self.folder).is_ok_and(|own| fs::canonicalize(folder).is_ok_and(|this| own == this))
    }

    /// The number of its user, if this machine knows it.
    pub fn user_id(&self) -> Option<u32> {
        names(&users(&[&self.user]))
            .find(|(name, id)| *name == self.user || id.to_string() == self.user)
            .map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::install_service::UNIT;

    #[test]
    fn the_unit_says_which_folder_and_whose_rights() {
        let service = Service::of(UNIT).expect("it is a unit");
        assert_eq!(service, Service { folder: "/var/lib/task-creator".into(), user: "task-creator".into() });
        let here = Service::of("User=root\nWorkingDirectory=/tmp/../\n").expect("it is a unit");
        assert!(here.is_in(Path::new("/")) && !here.is_in(Path::new("/nowhere")) && !service.is_in(Path::new("/")));
        assert_eq!(here.user_id(), Some(0));
        assert_eq!(Service::of("[Service]\n"), None);
    }
}
