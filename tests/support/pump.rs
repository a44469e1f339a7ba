//! The threads of a [`Relay`](super::Relay): two for each connection, one for each direction. They read, ask
//! `traffic.rs` which bytes may go on, and write.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;

use super::relay::Direction;
use super::traffic::{Connection, LONGEST_PATTERN, LOOK, Shared, Verdict};

/// Starts the two threads of a connection.
pub fn start(connection: Connection, shared: &Arc<Shared>) {
    for stream in [&connection.client, &connection.server] {
        // The relay must add no delay of its own, and must check a quiet socket now and then.
        let prepared =
            stream.set_nodelay(true).and(stream.set_read_timeout(Some(LOOK))).and(stream.set_write_timeout(Some(LOOK)));
        prepared.expect("an open socket takes these options");
    }
    let connection = Arc::new(connection);
    shared.admit(&connection);
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (connection, shared) = (connection.clone(), shared.clone());
        let pumping = move || pump(&connection, direction, &shared);
        let spawned = thread::Builder::new().name(format!("relay/{direction:?}")).spawn(pumping);
        spawned.expect("the machine has a thread to spare");
    }
}

fn pump(connection: &Arc<Connection>, direction: Direction, shared: &Shared) {
    let (mut from, to) = connection.ends(direction);
    let mut buffer = vec![0; 64 * 1024];
    let mut earlier = Vec::new();
    loop {
        drop(shared.await_not_held(connection, direction));
        if connection.has_ended() {
            return;
        }
        match from.read(&mut buffer) {
            // One side has finished; the other direction may still carry bytes.
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => {
                if carry(connection, direction, shared, &mut earlier, &buffer[..count]).is_err() {
                    connection.end();
                    return;
                }
            }
            Err(err) if is_a_pause(&err) => {}
            Err(_) => {
                connection.end();
                return;
            }
        }
    }
}

/// Forwards one chunk, in as many steps as watches and limits demand.
fn carry(
    connection: &Arc<Connection>,
    direction: Direction,
    shared: &Shared,
    earlier: &mut Vec<u8>,
    mut bytes: &[u8],
) -> io::Result<()> {
    shared.await_delay(connection, direction);
    while !bytes.is_empty() {
        match shared.judge(connection, direction, earlier, bytes) {
            Verdict::End => return Ok(()),
            Verdict::Swallow => {
                earlier.clear();
                return Ok(());
            }
            Verdict::Forward(count, hit) => {
                let (now, later) = bytes.split_at(count);
                let written = write(connection, direction, now);
                shared.note_forwarded(connection, direction, count, hit.as_ref());
                written?;
                earlier.extend_from_slice(now);
                earlier.drain(..earlier.len().saturating_sub(LONGEST_PATTERN));
                bytes = later;
            }
        }
    }
    Ok(())
}

fn write(connection: &Connection, direction: Direction, mut bytes: &[u8]) -> io::Result<()> {
    let (_, mut to) = connection.ends(direction);
    while !bytes.is_empty() && !connection.has_ended() {
        match to.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(err) if is_a_pause(&err) => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

fn is_a_pause(err: &io::Error) -> bool {
    matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
