//! Frames that would harm amiquip, whole and in drips.

use super::*;

/// Gives at most this many bytes at each read.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(out.len()).min(self.0.len());
        let (now, later) = self.0.split_at(count);
        out[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

fn through(bytes: &[u8], at_once: usize) -> Vec<u8> {
    let mut out = Vec::new();
    Harmless::new(Drip(bytes, at_once)).read_to_end(&mut out).expect("it does not fail");
    out
}

/// The output for these bytes; it must not depend on how they are split.
#[track_caller]
fn filtered(bytes: &[u8]) -> Vec<u8> {
    let out = through(bytes, usize::MAX);
    for at_once in [1, 2, 3, 7, 8, 64, 1000] {
        assert!(through(bytes, at_once) == out, "{at_once} bytes at once");
    }
    out
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("a small one").to_be_bytes();
    [&[kind, 0, 1], &size[..], payload, &[0xce]].concat()
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("a small one")], text].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("a small one").to_be_bytes(), bytes].concat()
}

fn delivery(routing_key: &[u8]) -> Vec<u8> {
    let payload = [&[0, 60, 0, 60][..], &short(b"tag"), &[0; 9], &short(b"exchange"), &short(routing_key)].concat();
    frame(METHOD, &payload)
}

/// A content header with these headers and a message id.
fn header(table: &[u8], message_id: &[u8]) -> Vec<u8> {
    let flags = 0b0010_0000_1000_0000_u16.to_be_bytes();
    frame(HEADER, &[&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], &flags[..], &long(table), &short(message_id)].concat())
}

/// One entry of a table.
fn entry(name: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    [&short(name)[..], &[kind], value].concat()
}

fn nested(kind: u8, depth: u32) -> Vec<u8> {
    (0..depth).fold(entry(b"end", b'V', b""), |inner, _| match kind {
        b'F' => entry(b"t", b'F', &long(&inner)),
        // An array of one table.
        _ => entry(b"a", b'A', &long(&[b"F".as_slice(), &long(&inner)].concat())),
    })
}

#[test]
fn a_text_that_is_not_utf8_gets_a_question_mark_for_each_bad_byte() {
    assert_eq!(filtered(&delivery(b"\xff\xd0\xb5\xd0")), delivery("?е?".as_bytes()));
    let got = |key: &[u8]| frame(METHOD, &[&[0, 60, 0, 71][..], &[0; 9], &short(b""), &short(key), &[0; 4]].concat());
    assert_eq!(filtered(&got(b"a\xc0")), got(b"a?"));
    let returned =
        |key: &[u8]| frame(METHOD, &[&[0, 60, 0, 50, 1, 56][..], &short(b"NO"), &short(key), &short(key)].concat());
    assert_eq!(filtered(&returned(b"\xed\xa0\x80")), returned(b"???"));
}

#[test]
fn a_text_that_the_broker_cut_within_a_character_is_read() {
    let text = |end: &[u8]| short(&["NOT_FOUND - очередь".as_bytes(), end, b"..."].concat());
    for method in [[0, 10, 0, 50], [0, 20, 0, 40]] {
        let close = |end: &[u8]| frame(METHOD, &[&method[..], &[1, 148], &text(end), &[0; 4]].concat());
        assert_eq!(filtered(&close(b"\xd0")), close(b"?"));
    }
    let blocked = |reason: &[u8]| frame(METHOD, &[&[0, 10, 0, 60][..], &short(reason)].concat());
    assert_eq!(filtered(&blocked(b"low \xff")), blocked(b"low ?"));
}

#[test]
fn headers_keep_all_that_can_be_read() {
    let table = |text: &[u8], name: &[u8]| {
        let inner = [entry(name, b'S', &long(text)), entry("ё".as_bytes(), b'l', &[7; 8])].concat();
        let list = [b"S".as_slice(), &long(text), b"D", &[1; 5], b"t", &[1], b"s", &[0, 1]].concat();
        [
            entry(b"bytes", b'x', &long(b"\xff\xff")),
            entry(name, b'F', &long(&inner)),
            entry(b"list", b'A', &long(&list)),
            entry(b"i", b'I', &[0xff; 4]),
            entry(b"after", b'S', &long(text)),
        ]
        .concat()
    };
    let bad = header(&table(b"\xe2\x82", b"\xfe"), b"id-\xff");
    assert_eq!(filtered(&bad), header(&table(b"??", b"?"), b"id-?"));
}

#[test]
fn a_table_too_deep_becomes_bytes_and_a_regular_one_stays() {
    for kind in [b'F', b'A'] {
        let honest = header(&nested(kind, DEEPEST / 2), b"id");
        assert_eq!(filtered(&honest), honest);
        let bomb = header(&[nested(kind, 3000), entry(b"after", b'S', &long(b"\xff"))].concat(), b"\xff");
        let out = filtered(&bomb);
        let differ: Vec<u8> = bomb.iter().zip(&out).filter(|(a, b)| a != b).map(|(_, b)| *b).collect();
        assert_eq!((out.len(), differ.as_slice()), (bomb.len(), b"x??".as_slice()));
        let cut = out.iter().position(|byte| *byte == b'x').expect("it is there");
        let depth = out[..cut].iter().filter(|byte| matches!(byte, b'F' | b'A')).count();
        assert_eq!(depth, DEEPEST as usize);
    }
}

#[test]
fn all_else_passes_as_it_is() {
    let odd: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let frames = [
        frame(BODY, &odd),
        frame(HEARTBEAT, b""),
        frame(METHOD, b"\x00\x3c\x00\x50\xff\xff"),
        frame(METHOD, b""),
        // It promises more than there is.
        frame(HEADER, b"\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\xff\xff\xff"),
        header(&entry(b"unknown", b'Z', b"\xff\xff"), b"\xff"),
        header(&entry(b"longer", b'F', &[0xff; 4]), b"\xff"),
        frame(BODY, b""),
    ];
    assert_eq!(filtered(&frames.concat()), frames.concat());
    let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n\xff\xff\xff\xff\xff\xff";
    assert_eq!(filtered(answer), answer);
}

#[test]
fn a_body_is_not_waited_for() {
    let bytes = frame(BODY, &[7; 1000]);
    let mut stream = Harmless::new(Drip(&bytes[..500], 100));
    let mut out = [0; 50];
    for _ in 0..10 {
        assert_eq!(stream.read(&mut out).expect("it does not fail"), 50);
    }
    // Cut in the middle: the bytes so far come out, then the end.
    let cut = &delivery(b"key")[..20];
    assert_eq!(filtered(cut), cut);
}
