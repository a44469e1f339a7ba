//! The keys of 1C's objects: which one a task's object has, and how a key is read and shown. Pure.
//!
//! 1C lets the client choose an object's key, so it is made of the task's id alone: a repeat finds the object of the
//! first try, whoever made it and whatever was heard of it.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// The namespace of the keys (RFC 9562), an arbitrary UUID of our own. Another one would make other keys of the same
/// tasks, and objects of theirs would be created a second time.
const NAMESPACE: [u8; 16] =
    [0x2b, 0x71, 0xd0, 0x4e, 0x9c, 0x35, 0x4f, 0x0a, 0x8e, 0x6d, 0x51, 0x7a, 0xc2, 0x90, 0xb3, 0x1f];
/// How 1C writes a reference to nothing.
pub const EMPTY: &str = "00000000-0000-0000-0000-000000000000";
/// The lengths of the five parts of a key.
const PARTS: [usize; 5] = [8, 4, 4, 4, 12];

/// The key of this task's object: a UUID of version 5.
pub fn of_task(task_id: &str) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[&NAMESPACE, task_id.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// The key that a text is, in small letters. Nothing else ever gets into an address.
pub fn parse(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.trim().split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_key = parts.iter().map(|part| part.len()).eq(PARTS) && parts.iter().all(is_hex);
    is_key.then(|| text.trim().to_ascii_lowercase())
}

/// The order in which 1C's own links have the parts.
pub fn in_link(key: &str) -> String {
    let mut parts: Vec<&str> = key.split('-').collect();
    parts.rotate_right(2);
    parts[2..].reverse();
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_always_has_the_same_key_and_no_other_task_has_it() {
        // As Python's uuid.uuid5(UUID(bytes=NAMESPACE), …) has it.
        assert_eq!(of_task("task-1"), "24996265-80d9-5658-8417-d92e242abc94");
        assert_eq!(of_task("задача «7»"), "2025a8e0-baf5-54a7-a491-3d763cf8e941");
        assert_eq!(parse(&of_task("task-1")), Some(of_task("task-1")));
    }

    #[test]
    fn only_a_whole_key_is_one() {
        let key = "21dda1c5-8c44-11db-a9b0-00055d49b45e";
        assert_eq!(parse(&format!(" {} ", key.to_uppercase())).as_deref(), Some(key));
        for wrong in ["", "7", "21dda1c58c4411dba9b000055d49b45e", "21dda1c5-8c44-11db-a9b0-00055d49b45'", &key[1..]] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(in_link(key), "a9b000055d49b45e11db8c4421dda1c5");
    }
}
