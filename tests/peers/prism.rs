//! Prism, a validating proxy, before a stand-in: whatever a contract does not allow becomes an error that names it, in
//! requests and in answers alike. Knows no contract.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, io};

use crate::support::eventually;

/// Node takes seconds to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// Ends when it is dropped.
pub struct Prism {
    child: Child,
    address: SocketAddr,
}

impl Prism {
    /// Before `upstream`, with this contract. `None`, said aloud, where there is no Prism.
    pub fn before(upstream: SocketAddr, contract: &str) -> Option<Prism> {
        let (Ok(program), Ok(contracts)) = (env::var("PEER_PRISM"), env::var("PEER_CONTRACTS")) else {
            // Past what the test harness keeps to itself.
            let _ = writeln!(io::stderr(), "!! SKIPPED: no Prism; tests/peers/run gets it");
            return None;
        };
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("loopback has a free port");
        let contract = Path::new(&contracts).join(contract);
        assert!(contract.exists(), "there is no {}", contract.display());
        let child = Command::new(program)
            .args(["proxy", "-h", "127.0.0.1", "-p", &free.port().to_string(), "--errors"])
            .arg(contract)
            .arg(format!("http://{upstream}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tests/peers/run has installed it");
        let prism = Prism { child, address: free };
        eventually("Prism", START, || TcpStream::connect(free).is_ok());
        Some(prism)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
