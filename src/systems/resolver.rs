//! Finds the address of a target's name, and keeps it for a short while.
//!
//! ureq asks its resolver before every request, also when it goes out over a connection that is kept, and its own one
//! starts a thread for each question. It knows no request and no answer.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// A name that has moved is asked for again after this time.
const KEPT: Duration = Duration::from_secs(10);

/// The resolver of one client. A failed look-up is not kept.
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
}
