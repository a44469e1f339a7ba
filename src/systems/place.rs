//! Where a target is and was. The same id at another host is another task. It sends nothing.

use crate::message::Record;
use crate::settings::Variables;

/// The hosts where a target was before, in small letters, from the setting of this name.
pub fn former_hosts(variables: &mut Variables, name: &str) -> Vec<String> {
    let given = variables.text(name).unwrap_or_default().to_lowercase();
    let hosts: Vec<String> =
        given.split(',').map(|host| host.trim().to_owned()).filter(|host| !host.is_empty()).collect();
    if hosts.iter().any(|host| host.contains(['/', '@', ' '])) {
        let wrong = "is not a list of hosts, each with its port where that is not the usual one";
        variables.error(name, wrong, &format!("{name}=old.example,10.0.0.5:8080"));
    }
    hosts
}

/// Where a target is.
pub struct Here<'a> {
    /// Its host, as records name it.
    pub host: String,
    /// Where it was before.
    pub former: &'a [String],
}

impl Here<'_> {
    /// Why the task of this record is not at this target, if the record names another host. `settings` are the names of
    /// the settings for the target and for its former hosts.
    pub fn elsewhere(&self, record: &Record, settings: [&str; 2]) -> Option<String> {
        let (there, [is, was]) = (record.target_host()?, settings);
        let known = there == self.host || self.former.contains(&there);
        (!known).then(|| {
            format!(
                "its task is at {there}, and {is} names {}; where that is the same target under a new name, set {was}={there}",
                self.host
            )
        })
    }
}
