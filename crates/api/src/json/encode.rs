//! Messages to JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::decode::is_json;
use crate::message::{Kind, Member, Message, Ref};

/// Appends a message, its members in alphabetical order, as Cognito's answers have them. Absent members are left out,
/// except lists and maps that are always written.
pub(crate) fn encode(message: &dyn Message, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    let shape = message.shape();
    for &index in shape.by_name {
        let Some(member) = shape.members.get(index) else { continue };
        let value = message.get(index);
        if matches!(value, Ref::Absent) && !member.always {
            continue;
        }
        // A document is checked where it comes in. Should a broken one come out of the store, the rest stays readable.
        if let (Kind::Document, Ref::Bytes(bytes)) = (member.kind, value)
            && !is_json(bytes)
        {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(member.key.as_bytes());
        write(member, value, out);
    }
    out.push(b'}');
}

fn write(member: &Member, value: Ref<'_>, out: &mut Vec<u8>) {
    match value {
        Ref::Absent if matches!(member.kind, Kind::TextMap | Kind::MessageMap) => {
            out.extend_from_slice(b"{}")
        }
        Ref::Absent => out.extend_from_slice(b"[]"),
        Ref::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Ref::Int(value) => integer(i64::from(value), out),
        Ref::Long(value) if member.kind == Kind::Timestamp => timestamp(value, out),
        Ref::Long(value) => integer(value, out),
        Ref::Text(value) => string(value, out),
        Ref::Bytes(value) if member.kind == Kind::Document => out.extend_from_slice(value),
        Ref::Bytes(value) => {
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(value).as_bytes());
            out.push(b'"');
        }
        Ref::Message(value) => encode(value, out),
        Ref::Texts(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                comma(index, out);
                string(value, out);
            }
            out.push(b']');
        }
        Ref::Messages(values) => {
            out.push(b'[');
            for (index, value) in (0..values.len()).filter_map(|i| values.get(i)).enumerate() {
                comma(index, out);
                encode(value, out);
            }
            out.push(b']');
        }
        Ref::TextMap(values) => {
            out.push(b'{');
            for (index, (key, value)) in values.iter().enumerate() {
                comma(index, out);
                string(key, out);
                out.push(b':');
                string(value, out);
            }
            out.push(b'}');
        }
        Ref::MessageMap(values) => {
            out.push(b'{');
            let mut index = 0;
            values.each(&mut |key, value| {
                comma(index, out);
                index += 1;
                string(key, out);
                out.push(b':');
                encode(value, out);
            });
            out.push(b'}');
        }
    }
}

fn comma(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

/// Appends a string in quotes.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(bytes.get(start..index).unwrap_or_default());
        start = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.extend_from_slice(b"\\u00");
                out.push(digit(byte >> 4));
                out.push(digit(byte & 15));
            }
        }
    }
    out.extend_from_slice(bytes.get(start..).unwrap_or_default());
    out.push(b'"');
}

fn integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    digits(value.unsigned_abs(), out);
}

#[allow(clippy::cast_possible_truncation, reason = "one decimal digit fits a byte")]
fn digits(mut value: u64, out: &mut Vec<u8>) {
    let mut buffer = [0u8; 20];
    let mut length = 0;
    for place in buffer.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        length += 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(buffer.get(buffer.len() - length..).unwrap_or_default());
}

/// Milliseconds as seconds, with a fraction where there is one.
#[allow(clippy::cast_possible_truncation, reason = "one decimal digit fits a byte")]
fn timestamp(milliseconds: i64, out: &mut Vec<u8>) {
    if milliseconds < 0 {
        out.push(b'-');
    }
    let milliseconds = milliseconds.unsigned_abs();
    digits(milliseconds / 1000, out);
    let fraction = milliseconds % 1000;
    if fraction > 0 {
        out.push(b'.');
        let written = [fraction / 100, fraction / 10 % 10, fraction % 10].map(|d| b'0' + d as u8);
        let kept = written.iter().rposition(|&d| d != b'0').map_or(0, |last| last + 1);
        out.extend_from_slice(written.get(..kept).unwrap_or_default());
    }
}
