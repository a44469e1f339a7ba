//! Prism, a validating proxy, before a fake: whatever a contract does not allow becomes an error that names it, in
//! requests and in answers alike. It knows no contract.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::program::{Program, found};

/// Ends when it is dropped.
pub struct Prism {
    _program: Program,
    address: SocketAddr,
}

impl Prism {
    /// Before `upstream`, with this contract. `None`, said aloud, where there is no Prism or no contract.
    pub fn before(upstream: SocketAddr, contract: &str) -> Option<Prism> {
        let (modules, contracts) = (found("PEER_NODE_MODULES")?, found("PEER_CONTRACTS")?);
        let contract = Path::new(&contracts).join(contract);
        assert!(contract.exists(), "there is no {}", contract.display());
        let mut command = Command::new(Path::new(&modules).join(".bin/prism"));
        command.arg("proxy").arg(contract).arg(format!("http://{upstream}")).args([
            "--errors",
            "-h",
            "127.0.0.1",
            "-p",
        ]);
        let (program, address) = Program::listening(&mut command);
        Some(Prism { _program: program, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
