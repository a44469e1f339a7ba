//! Where the monitor listens, and for whom.
//!
//! Without `MONITOR_ADDR` there is none. It may be reached from other machines only with a token: whoever reaches it
//! reads the titles of tasks, and with control stops the work. This file opens no socket.

use std::net::{Ipv4Addr, SocketAddr};

use crate::settings::{Secret, Variables, address};

const ADDRESS: &str = "MONITOR_ADDR";
const READ_TOKEN: &str = "MONITOR_READ_TOKEN";
const CONTROL_TOKEN: &str = "MONITOR_CONTROL_TOKEN";
const HOSTS: &str = "MONITOR_HOSTS";
/// What stands in the examples.
const EXAMPLE: &str = "MONITOR_ADDR=127.0.0.1:9180";
/// In bytes; `openssl rand -hex 32` makes 64 characters.
const SHORTEST_TOKEN: usize = 32;
const EXAMPLE_TOKEN: &str = "the 64 characters of: openssl rand -hex 32";

/// Where the monitor listens, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Where it listens.
    pub address: SocketAddr,
    /// With it everything can be read.
    pub read_token: Option<Secret>,
    /// With it everything can be read and done.
    pub control_token: Option<Secret>,
    /// By these names, in small letters, it may be addressed too: those of a proxy in front of it.
    pub hosts: Vec<String>,
}

impl Monitor {
    /// What the variables say; `None` without `MONITOR_ADDR`.
    pub fn from_variables(variables: &mut Variables) -> Option<Monitor> {
        let (read_token, control_token) = (token(variables, READ_TOKEN), token(variables, CONTROL_TOKEN));
        if read_token.is_some() && read_token == control_token {
            let wrong = "is the same as MONITOR_READ_TOKEN, so that whoever reads could do everything";
            variables.error(CONTROL_TOKEN, wrong, &format!("{CONTROL_TOKEN}={EXAMPLE_TOKEN}"));
        }
        let hosts = variables.parsed(HOSTS, "MONITOR_HOSTS=monitor.example", hosts).unwrap_or_default();
        let address = variables.parsed(ADDRESS, EXAMPLE, address)?;
        let monitor = Monitor { address, read_token, control_token, hosts };
        if !monitor.has_token() && !address.ip().is_loopback() {
            let wrong = format!(
                "is {address}, which other machines can reach, and there is no token: set MONITOR_READ_TOKEN or \
                 MONITOR_CONTROL_TOKEN, or listen on this machine only"
            );
            variables.error(ADDRESS, &wrong, EXAMPLE);
        }
        Some(monitor)
    }

    /// Whether somebody has to show a token.
    pub fn has_token(&self) -> bool {
        self.read_token.is_some() || self.control_token.is_some()
    }

    /// What must not appear in any output.
    pub fn secrets(&self) -> Vec<Secret> {
        self.read_token.iter().chain(&self.control_token).cloned().collect()
    }

    /// Who may do what, in a sentence for `check` and the log.
    pub fn rules(&self) -> &'static str {
        match (&self.read_token, &self.control_token) {
            (None, None) => "everybody on this machine may read, nobody may control (no token is set)",
            (Some(_), None) => {
                "reading needs MONITOR_READ_TOKEN, nobody may control (MONITOR_CONTROL_TOKEN is not set)"
            }
            (None, Some(_)) => "reading and control need MONITOR_CONTROL_TOKEN",
            (Some(_), Some(_)) => "reading needs one of the two tokens, control needs MONITOR_CONTROL_TOKEN",
        }
    }
}

/// A token as it stands in a header: long, and without blanks and letters that a header cannot have.
fn token(variables: &mut Variables, name: &str) -> Option<Secret> {
    let token = variables.secret(name)?;
    let text = token.expose();
    let wrong = match () {
        () if text.len() < SHORTEST_TOKEN => format!("has {} bytes and needs {SHORTEST_TOKEN} at least", text.len()),
        () if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            "has a blank or a letter outside ASCII, which no header can have".into()
        }
        () => return Some(token),
    };
    variables.error(name, &wrong, &format!("{name}={EXAMPLE_TOKEN}"));
    Some(token)
}

/// An address with a port. Of names only that of this machine counts: a name that has to be looked up may be another
/// machine tomorrow.
fn address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let address = local.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).or_else(|| text.parse().ok());
    let address = address.ok_or_else(|| format!("is {text:?}, not an address and a port"))?;
    if address.port() == 0 { Err("has the port 0; it is 1 to 65535".into()) } else { Ok(address) }
}

fn hosts(text: &str) -> Result<Vec<String>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| {
            address::host(name).map(|host| host.to_lowercase()).map_err(|wrong| format!("has {name:?}, which {wrong}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "canary-0123456789-0123456789-0123";
    const OTHER: &str = "canary-abcdefghij-abcdefghij-abcd";

    fn read(given: &[(&str, &str)]) -> (Option<Monitor>, String) {
        let value = |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let (monitor, errors) = Variables::read(value, Monitor::from_variables);
        (monitor, errors.join("\n"))
    }

    #[test]
    fn it_is_off_without_an_address_and_on_this_machine_it_needs_no_token() {
        assert_eq!(read(&[]), (None, String::new()));
        assert_eq!(read(&[(READ_TOKEN, TOKEN)]).1, "");
        for (given, listens) in
            [("127.0.0.1:9180", "127.0.0.1:9180"), ("localhost:1", "127.0.0.1:1"), ("[::1]:2", "[::1]:2")]
        {
            let (monitor, errors) = read(&[(ADDRESS, given)]);
            assert_eq!((monitor.expect("it is on").address.to_string(), errors), (listens.into(), String::new()));
        }
        for wrong in ["9180", "127.0.0.1", "monitor.example:9180", "127.0.0.1:0", "127.0.0.1:99999", "::1:80"] {
            assert!(read(&[(ADDRESS, wrong)]).1.contains("MONITOR_ADDR "), "{wrong}");
        }
    }

    #[test]
    fn where_others_reach_it_a_token_is_needed() {
        let (_, told) = read(&[(ADDRESS, "0.0.0.0:9180")]);
        assert!(told.contains("there is no token: set MONITOR_READ_TOKEN or MONITOR_CONTROL_TOKEN"), "{told}");
        for name in [READ_TOKEN, CONTROL_TOKEN] {
            assert_eq!(read(&[(ADDRESS, "0.0.0.0:9180"), (name, TOKEN)]).1, "");
        }
    }

    #[test]
    fn tokens_are_long_and_differ_and_no_error_shows_them() {
        let (monitor, none) = read(&[(ADDRESS, "127.0.0.1:1"), (READ_TOKEN, TOKEN), (CONTROL_TOKEN, OTHER)]);
        assert_eq!(none, "");
        assert_eq!(monitor.expect("it is on").secrets(), [Secret::new(TOKEN), Secret::new(OTHER)]);
        for (given, told) in [
            (&[(READ_TOKEN, "canary-too-short")][..], "MONITOR_READ_TOKEN has 16 bytes and needs 32 at least"),
            (&[(CONTROL_TOKEN, "canary-0123456789 0123456789 0123")], "has a blank or a letter outside ASCII"),
            (&[(READ_TOKEN, TOKEN), (CONTROL_TOKEN, TOKEN)], "MONITOR_CONTROL_TOKEN is the same as MONITOR_READ_TOKEN"),
        ] {
            let (_, errors) = read(given);
            assert!(errors.contains(told) && !errors.contains("canary"), "{errors}");
        }
    }

    #[test]
    fn further_hosts_are_names_without_a_port() {
        let hosts = |given| read(&[(ADDRESS, "127.0.0.1:1"), (HOSTS, given)]);
        assert_eq!(hosts("Monitor.example, 10.0.0.7").0.expect("it is on").hosts, ["monitor.example", "10.0.0.7"]);
        assert!(hosts("monitor.example:443").1.contains("MONITOR_HOSTS has \"monitor.example:443\", which is not"));
    }
}
