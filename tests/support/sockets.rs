//! The one thing about sockets that std does not offer: closing with a reset.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

/// Makes the kernel answer the closing of `stream` with RST instead of FIN. It takes effect when the last handle to the
/// socket is dropped, so nobody may hold a clone. The setting goes through `mio`, which can linger where std cannot.
pub fn reset_when_dropped(stream: &TcpStream) -> io::Result<()> {
    let lingering = mio::net::TcpStream::from_stream(stream.try_clone()?)?;
    lingering.set_linger(Some(Duration::ZERO))?;
    // mio switched the socket, which both handles share, to non-blocking.
    stream.set_nonblocking(false)
}
