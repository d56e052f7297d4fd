//! Writing JSON and server-sent events (WHATWG HTML, section 9.2).

use serde::Serialize;

/// Appends the JSON of a value. Nothing is appended if it cannot be written,
/// which the types of this module rule out.
pub fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
    }
}

/// Appends an event without a name. JSON holds no raw line break, so one
/// `data` line is enough.
pub fn data(out: &mut Vec<u8>, value: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    json(out, value);
    out.extend_from_slice(b"\n\n");
}

/// Appends an event with a name, which holds no line break.
pub fn event(out: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    data(out, value);
}
