//! Finds the addresses of a target's name and keeps them for a short while; connects to the first that answers.
//!
//! ureq asks its resolver before every request, also when a kept connection is used, and its own resolver starts a
//! thread for each question. Its own connector gives the first address two thirds of the whole time. This one knows no
//! request and no answer.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, Either, NextTimeout, TcpConnector, Transport};

use crate::dial;

/// After this time a name is looked up again, since it may have moved.
const KEPT: Duration = Duration::from_secs(10);

/// The resolver of one client. It does not keep a failed look-up.
#[derive(Debug, Default)]
pub struct KeepingResolver {
    names: DefaultResolver,
    last: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    host: String,
    since: Instant,
    addresses: ResolvedSocketAddrs,
}

impl Resolver for KeepingResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.scheme().zip(uri.authority());
        let host = host.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let Some(host) = host else { return self.names.resolve(uri, config, timeout) };
        if let Ok(address) = host.parse::<SocketAddr>() {
            let mut addresses = self.empty();
            addresses.push(address);
            return Ok(addresses);
        }
        let known = |known: &&Known| known.host == host && known.since.elapsed() < KEPT;
        if let Some(known) = self.lock().as_ref().filter(known) {
            return Ok(known.addresses.clone());
        }
        let addresses = self.names.resolve(uri, config, timeout)?;
        *self.lock() = Some(Known { host, since: Instant::now(), addresses: addresses.clone() });
        Ok(addresses)
    }
}

/// Opens a TCP connection; [`dial`] chooses the address.
#[derive(Debug, Default)]
pub struct Dial(TcpConnector);

impl<In: Transport> Connector<In> for Dial {
    type Out = <TcpConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, before: Option<In>) -> Result<Option<Self::Out>, Error> {
        if before.is_some() {
            return Ok(before.map(Either::A));
        }
        let connected = dial::first(&details.addrs, *details.timeout.after, |address, patience| {
            self.0.connect(&narrowed(details, address, patience), None).map_err(|err| match err {
                Error::Timeout(_) => None,
                err => Some(err),
            })
        });
        connected.map_err(|err| err.unwrap_or(Error::Timeout(details.timeout.reason)))
    }
}

/// The same connection, but only to this address, and for this long.
fn narrowed<'a>(details: &ConnectionDetails<'a>, address: SocketAddr, patience: Duration) -> ConnectionDetails<'a> {
    let mut addrs = details.resolver.empty();
    addrs.push(address);
    ConnectionDetails {
        uri: details.uri,
        addrs,
        config: details.config,
        request_level: details.request_level,
        resolver: details.resolver,
        now: details.now,
        timeout: NextTimeout { after: patience.into(), ..details.timeout },
        current_time: details.current_time.clone(),
        run_connector: details.run_connector.clone(),
        register_shutdown: details.register_shutdown.clone(),
    }
}

impl KeepingResolver {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(resolver: &KeepingResolver, url: &str) -> Result<Vec<SocketAddr>, Error> {
        let timeout = NextTimeout {
            after: Duration::from_secs(5).into(),
            reason: ureq::Timeout::Resolve,
            ..NextTimeout::default()
        };
        let addresses = resolver.resolve(&url.parse().expect("a URL"), &Config::default(), timeout)?;
        Ok(addresses.iter().copied().collect())
    }

    #[test]
    fn an_address_is_taken_as_it_is_and_never_kept() {
        let resolver = KeepingResolver::default();
        assert_eq!(resolve(&resolver, "http://127.0.0.1:81/rest").ok(), Some(vec![([127, 0, 0, 1], 81).into()]));
        assert_eq!(resolve(&resolver, "https://[::1]/rest").ok(), Some(vec!["[::1]:443".parse().expect("an address")]));
        assert!(resolver.lock().is_none());
    }

    #[test]
    fn a_name_is_kept_for_a_while_and_no_other_name_gets_its_address() {
        let resolver = KeepingResolver::default();
        let found = resolve(&resolver, "http://localhost:81/").expect("this machine");
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        resolver.lock().as_mut().expect("kept").addresses = {
            let mut other = resolver.empty();
            other.push(([127, 0, 0, 9], 9).into());
            other
        };
        assert_eq!(resolve(&resolver, "http://localhost:81/rest").ok(), Some(vec![([127, 0, 0, 9], 9).into()]));
        assert_eq!(resolve(&resolver, "http://localhost:82/").expect("this machine")[0].port(), 82);
        resolver.lock().as_mut().expect("kept").since = Instant::now().checked_sub(KEPT).expect("a machine that is up");
        assert_eq!(resolve(&resolver, "http://localhost:82/").ok().map(|found| found.len()), Some(found.len()));
    }

    #[test]
    fn a_name_that_is_not_found_is_not_kept() {
        let resolver = KeepingResolver::default();
        assert!(resolve(&resolver, "http://nobody.invalid/").is_err());
        assert!(resolver.lock().is_none());
    }

    /// A name with two addresses. Nobody has the first: packets to it get no answer.
    #[derive(Debug)]
    struct FirstIsDead(SocketAddr);

    impl Resolver for FirstIsDead {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
            let mut addresses = self.empty();
            addresses.push(([203, 0, 113, 1], self.0.port()).into());
            addresses.push(self.0);
            Ok(addresses)
        }
    }

    #[test]
    fn a_dead_first_address_of_a_name_costs_only_a_moment() {
        use std::io::{Read as _, Write as _};
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = server.local_addr().expect("a bound listener has an address");
        let answering = std::thread::spawn(move || {
            let (mut client, _) = server.accept().expect("a client comes");
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        });
        let config = ureq::Agent::config_builder().timeout_connect(Some(Duration::from_secs(10))).build();
        let agent = ureq::Agent::with_parts(config, ().chain(Dial::default()), FirstIsDead(address));
        let started = Instant::now();
        assert_eq!(agent.get("http://portal.example/").call().expect("an answer").status(), 200);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        answering.join().expect("no panic");
    }
}
