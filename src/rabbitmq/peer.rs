//! Says, by its first bytes, what answers in place of RabbitMQ. It reads only these bytes, and no AMQP.

/// The first bytes of AMQP 0-9-1: a method, on channel 0.
const METHOD: [u8; 3] = [1, 0, 0];
/// As much of a greeting as is shown.
const SHOWN: usize = 40;

/// Can an answer of RabbitMQ start like this?
pub fn may_be_rabbitmq(first: &[u8]) -> bool {
    first.iter().zip(METHOD).all(|(byte, expected)| *byte == expected)
}

/// Says what answers, and what to do; `first` is not from RabbitMQ. `encrypted`: we spoke TLS.
pub fn told(first: &[u8], encrypted: bool) -> String {
    let (amqp, management) = if encrypted { (5671, 15671) } else { (5672, 15672) };
    let who = match first {
        [b'H', b'T', b'T', b'P', ..] => {
            format!("a web server answers ({management} is RabbitMQ's management page, {amqp} its port for programs)")
        }
        [0x15 | 0x16, 3, ..] => {
            "TLS is spoken there: set RABBITMQ_TLS=true, or name the port without TLS (5672)".into()
        }
        [b'A', b'M', b'Q', b'P', ..] if encrypted => "another version of AMQP is spoken there, and not 0-9-1".into(),
        [b'A', b'M', b'Q', b'P', ..] => {
            "another version of AMQP is spoken there (1.0?), and not RabbitMQ's 0-9-1".into()
        }
        text if greeting(text).is_some() => {
            format!("something else answers, which says {:?}", greeting(text).unwrap_or_default())
        }
        _ => "something else answers".into(),
    };
    format!("connected, but no AMQP is spoken there: {who}")
}

/// What answers a TLS client without TLS, if it can be recognised.
pub fn told_to_tls(first: &[u8]) -> Option<String> {
    match first {
        [b'A', b'M', b'Q', b'P', ..] => {
            Some("AMQP without TLS is spoken there: name the port with TLS (5671), or set RABBITMQ_TLS=false".into())
        }
        [b'H', b'T', b'T', b'P', ..] => Some(told(first, true)),
        _ => greeting(first).map(|_| told(first, true)),
    }
}

/// Connected, and no byte came.
pub fn silent(encrypted: bool) -> String {
    let management = if encrypted { 15671 } else { 15672 };
    format!(
        "connected, but nobody answers: no AMQP is spoken there ({management} is RabbitMQ's management page), or RabbitMQ \
         hangs"
    )
}

/// Connected, and the link ended before the first byte.
pub fn closed() -> String {
    "connected, but the connection was closed without a word: RabbitMQ is starting, a proxy in between cannot reach it, or \
     no AMQP is spoken there"
        .into()
}

/// The first line, if it is text.
fn greeting(first: &[u8]) -> Option<String> {
    let line = first.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let text: String = std::str::from_utf8(&line[..line.len().min(SHOWN)]).ok()?.into();
    (text.len() >= 3 && text.chars().all(|char| !char.is_control())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_show_what_answers() {
        for (first, words) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "15672 is RabbitMQ's management page, 5672 its port"),
            (&[0x15, 3, 1, 0, 2, 2, 70], "set RABBITMQ_TLS=true"),
            (b"AMQP\0\x01\0\0", "another version of AMQP"),
            (b"AMQP\x03\x01\0\0", "another version of AMQP"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "which says \"SSH-2.0-OpenSSH_9.2\""),
            (b"220 mail.example ESMTP\r\n", "which says \"220 mail.example ESMTP\""),
            (&[0x4a, 0, 0, 0, 10, 0xff], "something else answers"),
        ] {
            assert!(!may_be_rabbitmq(first));
            let told = told(first, false);
            assert!(told.starts_with("connected, but no AMQP is spoken there: ") && told.contains(words), "{told}");
        }
        assert!(may_be_rabbitmq(&[1, 0, 0, 0, 0, 1, 245]) && may_be_rabbitmq(&[1]) && may_be_rabbitmq(&[]));
        assert!(told(b"HTTP/1.1", true).contains("15671"));
    }

    #[test]
    fn a_port_without_tls_is_recognised_by_its_answer() {
        let told = |first| told_to_tls(first).unwrap_or_default();
        assert!(told(b"AMQP\0\0\x09\x01").contains("RABBITMQ_TLS=false"));
        assert!(told(b"HTTP/1.0 400").contains("15671"));
        assert!(told(b"SSH-2.0-x").contains("SSH-2.0-x"));
        assert_eq!(told_to_tls(&[0x15, 3, 3]), None);
    }
}
