//! Chooses the address of a name: the first that answers. A slow address costs the others only a moment, and is tried
//! again with more patience, since its answer may take long.
//!
//! For RabbitMQ and the targets alike. It knows no protocol.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long the first round waits for each address. A server that runs answers within a fraction of this.
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
/// Each round waits this many times longer for each address.
const MORE: u32 = 4;

/// A connection to this host, opened within `deadline` once its name is looked up.
///
/// # Errors
/// There is none, and why.
pub fn tcp(host: &str, port: u16, deadline: Duration) -> anyhow::Result<TcpStream> {
    let addresses = (host, port).to_socket_addrs().context("looking up the host's name")?;
    let addresses: Vec<SocketAddr> = addresses.collect();
    let connected = first(&addresses, deadline, |address, patience| {
        TcpStream::connect_timeout(&address, patience)
            .map_err(|err| Some(err).filter(|err| err.kind() != ErrorKind::TimedOut))
    });
    match connected {
        Ok(stream) => {
            // Small writes, each of which waits for an answer, would wait for delayed ACKs: 40 ms each.
            stream.set_nodelay(true).context("setting TCP_NODELAY")?;
            Ok(stream)
        }
        Err(Some(err)) => Err(err).context("connecting"),
        Err(None) if addresses.is_empty() => bail!("the host's name has no address"),
        Err(None) => bail!("the host does not answer: no connection within {deadline:?}"),
    }
}

/// Connects to the first address that answers, within `deadline` for all of them. `connect` tries one address for the
/// given time; `Err(None)` says that it has not answered.
///
/// # Errors
/// The error of the last address that failed, if one has; else `None`: no address has answered in time.
pub fn first<T, E>(
    addresses: &[SocketAddr],
    deadline: Duration,
    mut connect: impl FnMut(SocketAddr, Duration) -> Result<T, Option<E>>,
) -> Result<T, Option<E>> {
    let mut silent = addresses.to_vec();
    let (mut left, mut patience, mut failure) = (deadline, FIRST_PATIENCE, None);
    while !silent.is_empty() && !left.is_zero() {
        for address in std::mem::take(&mut silent) {
            // A single address gets all the time.
            let patience = if addresses.len() == 1 { left } else { patience.min(left) };
            if patience.is_zero() {
                break;
            }
            let started = Instant::now();
            match connect(address, patience) {
                Ok(connection) => return Ok(connection),
                Err(Some(err)) => {
                    failure = Some(err);
                    left = left.saturating_sub(started.elapsed());
                }
                Err(None) => {
                    silent.push(address);
                    left = left.saturating_sub(started.elapsed().max(patience));
                }
            }
        }
        patience *= MORE;
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(5);

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|port| ([127, 0, 0, 1], port).into()).collect()
    }

    #[test]
    fn the_second_address_is_tried_soon_when_the_first_is_silent() {
        let mut waited = Duration::ZERO;
        let connected = first(&addresses(3), DEADLINE, |address, patience| {
            if address.port() == 2 {
                return Ok(address.port());
            }
            waited += patience;
            Err(None::<()>)
        });
        assert_eq!((connected, waited), (Ok(2), FIRST_PATIENCE));
    }

    #[test]
    fn an_address_that_is_far_away_gets_more_patience_in_the_next_round() {
        let mut tries = Vec::new();
        let connected = first(&addresses(2), DEADLINE, |address, patience| {
            tries.push((address.port(), patience.as_millis()));
            if address.port() == 2 && patience > Duration::from_millis(600) { Ok(()) } else { Err(None::<()>) }
        });
        assert_eq!(connected, Ok(()));
        assert_eq!(tries, [(1, 250), (2, 250), (1, 1000), (2, 1000)]);
    }

    #[test]
    fn the_deadline_is_for_all_addresses_and_a_single_one_gets_all_of_it() {
        for count in [1, 2, 7, 100] {
            let mut waited = Duration::ZERO;
            let connected = first(&addresses(count), DEADLINE, |_, patience| {
                waited += patience;
                Err::<(), Option<()>>(None)
            });
            assert_eq!((connected, waited), (Err(None), DEADLINE), "{count} addresses");
        }
    }

    #[test]
    fn an_address_that_refuses_is_not_tried_again_and_its_error_is_returned() {
        let mut tries = [0, 0];
        let connected = first(&addresses(2), DEADLINE, |address, _| {
            tries[usize::from(address.port() - 1)] += 1;
            Err::<(), _>((address.port() == 1).then_some("refused"))
        });
        assert_eq!(connected, Err(Some("refused")));
        assert!(tries[0] == 1 && tries[1] > 1, "{tries:?}");
        assert_eq!(first(&[], DEADLINE, |_, _| Err::<(), Option<()>>(None)), Err(None));
    }
}
