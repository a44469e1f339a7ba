//! AMQP as nobody should send it: a routing key, headers and properties of any bytes, which a client library would
//! refuse or could not write. It knows the frames of a publish; [`Broker`](super::Broker) reads queues.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::broker::RabbitMq;
use super::wait::PATIENCE;

/// A connection with one channel.
pub struct Wire(TcpStream);

/// A text, or any bytes in place of one, of at most 255 bytes.
pub fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("a short string")], text].concat()
}

/// Up to 4 GiB, with the length in front: a long string, or the inside of a table.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("no frame is so long").to_be_bytes(), bytes].concat()
}

/// An entry of a table: its name, the code of its type, its value.
pub fn entry(name: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    [&short(name)[..], &[kind], value].concat()
}

/// A table in a table, so many times.
pub fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |inner, _| entry(b"t", b'F', &long(&inner)))
}

impl Wire {
    pub fn connect(rabbitmq: &RabbitMq) -> Wire {
        let stream = TcpStream::connect(rabbitmq.address()).expect("RabbitMQ listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut wire = Wire(stream);
        wire.write(b"AMQP\x00\x00\x09\x01");
        wire.await_method((10, 10));
        let login = ["\0", &rabbitmq.username, "\0", &rabbitmq.password].concat();
        wire.method(0, (10, 11), &[long(b""), short(b"PLAIN"), long(login.as_bytes()), short(b"en_US")].concat());
        wire.await_method((10, 30));
        // 2047 channels, frames of 128 KiB, no heartbeats.
        wire.method(0, (10, 31), &[7, 255, 0, 2, 0, 0, 0, 0]);
        wire.method(0, (10, 40), &[short(rabbitmq.vhost.as_bytes()), vec![0, 0]].concat());
        wire.await_method((10, 41));
        wire.method(1, (20, 10), &[0]);
        wire.await_method((20, 11));
        wire.method(1, (85, 10), &[0]);
        wire.await_method((85, 11));
        wire
    }

    /// Makes an exchange that routes everything into this queue, and is deleted with the queue.
    pub fn exchange_in_front_of(&mut self, queue: &str) -> String {
        let exchange = format!("{queue}.exchange");
        let (name, auto_delete) = (short(exchange.as_bytes()), 0b100);
        self.method(1, (40, 10), &[&[0, 0], &name[..], &short(b"fanout"), &[auto_delete], &long(b"")].concat());
        self.await_method((40, 11));
        let queue = short(queue.as_bytes());
        self.method(1, (50, 20), &[&[0, 0], &queue[..], &name, &short(b""), &[0], &long(b"")].concat());
        self.await_method((50, 21));
        exchange
    }

    /// Publishes, confirmed; `headers` is the inside of their table.
    pub fn publish(&mut self, exchange: &str, routing_key: &[u8], headers: &[u8], message_id: &[u8], body: &[u8]) {
        self.method(1, (60, 40), &[&[0, 0], &short(exchange.as_bytes())[..], &short(routing_key), &[0]].concat());
        let size = (body.len() as u64).to_be_bytes();
        // Headers, delivery mode (persistent), message id.
        let flags = 0b0011_0000_1000_0000_u16.to_be_bytes();
        let properties = [&long(headers)[..], &[2], &short(message_id)].concat();
        self.frame(2, 1, &[&[0, 60, 0, 0], &size[..], &flags, &properties].concat());
        self.frame(3, 1, body);
        self.await_method((60, 80));
    }

    fn method(&mut self, channel: u16, (class, method): (u16, u16), arguments: &[u8]) {
        self.frame(1, channel, &[&class.to_be_bytes(), &method.to_be_bytes(), arguments].concat());
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        self.write(&[&[kind], &channel.to_be_bytes()[..], &long(payload), &[0xce]].concat());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("RabbitMQ reads");
    }

    #[track_caller]
    fn await_method(&mut self, (class, method): (u16, u16)) {
        let wanted = [class.to_be_bytes(), method.to_be_bytes()].concat();
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head).expect("RabbitMQ answers");
            let mut payload = vec![0; u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize + 1];
            self.0.read_exact(&mut payload).expect("a whole frame");
            if payload.starts_with(&wanted) {
                return;
            }
            let text = String::from_utf8_lossy(&payload);
            assert!(head[0] == 8, "RabbitMQ answers {payload:?} ({text}) and not {class}.{method}");
        }
    }
}
