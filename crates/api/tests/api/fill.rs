//! Makes messages from the tables: every member set, to valid values.

use conclave_api::{Kind, Limits, Member, Message, Slot};

/// A valid string for each pattern of the model, short enough to be repeated to any length that is asked for.
fn sample(pattern: &str) -> (&'static str, &'static str, &'static str) {
    // before, what can be repeated, after
    match pattern {
        "Level[1-4]" => ("Level1", "", ""),
        r"[\w-]+_[0-9a-f-]+" => ("us-east-1_", "a", ""),
        r"[\w-]+_[0-9a-zA-Z]+" => ("us-east-1_", "a", ""),
        r"^(tkn|sso)[a-z0-9]{25}$" => ("tkn0123456789abcdefghijklmno", "", ""),
        r"import-[0-9a-zA-Z-]+" => ("import-", "a", ""),
        r"^(terms-of-use|privacy-policy)$" => ("terms-of-use", "", ""),
        p if p.starts_with("^cognito:") => ("cognito:default", "", ""),
        p if p.starts_with("^[0-9a-fA-F]{8}-") => ("01234567-89ab-4cde-8f01-23456789abcd", "", ""),
        p if p.contains("[0-9]+:[") => ("arn:aws:lambda:us-east-1:123456789012:function:", "a", ""),
        p if p.contains("]+:::[") => ("arn:aws:s3:::", "a", ""),
        p if p.contains(r"\{####\}") => ("code {####} ", "a", ""),
        p if p.contains(r"\{##[") => ("follow {##the link##} ", "a", ""),
        p if p.contains("]+@[") => ("someone@", "a", ""),
        r"[^_\p{Z}][\p{L}\p{M}\p{S}\p{N}\p{P}][^_\p{Z}]+" => ("Pro", "v", ""),
        r"^[\S]+.*[\S]+$" => ("P", "a", "1"),
        "[0-9]+" => ("", "1", ""),
        r"^[0-9a-fA-F]+$" => ("", "a", ""),
        _ => ("", "a", ""),
    }
}

/// A valid string of a length that lies between the limits.
pub fn text(limits: Option<&Limits>) -> String {
    let Some(limits) = limits else { return "some text".to_owned() };
    if let Some([first, ..]) = limits.values {
        return (*first).to_owned();
    }
    let least = usize::try_from(limits.min.unwrap_or(1).max(1)).unwrap_or(1);
    text_of(limits, least)
}

/// A string that matches the pattern and has at least that length.
pub fn text_of(limits: &Limits, length: usize) -> String {
    let (before, middle, after) = limits.pattern.map_or(("", "a", ""), |p| sample(p.source()));
    let missing = length.saturating_sub(before.len() + after.len());
    // A middle that may be empty is not empty here, except where only the fixed text is valid.
    format!("{before}{}{after}", middle.repeat(missing.max(1)))
}

/// A valid number.
pub fn number(limits: Option<&Limits>) -> i64 {
    limits.and_then(|l| l.min).unwrap_or(7)
}

/// Sets every member, structures included. Strings of members that `mark` chooses are its own.
pub fn message(message: &mut dyn Message, mark: &dyn Fn(&Member) -> Option<String>) {
    for (index, member) in message.shape().members.iter().enumerate() {
        self::member(message, index, member, mark);
    }
}

fn member(
    message: &mut dyn Message,
    index: usize,
    member: &Member,
    mark: &dyn Fn(&Member) -> Option<String>,
) {
    let value = || mark(member).unwrap_or_else(|| text(member.value));
    let item = || mark(member).unwrap_or_else(|| text(member.item));
    let key = || text(member.map_key);
    let entries = member.value.and_then(|l| l.min).unwrap_or(1).max(1);
    match message.slot(index) {
        Slot::None => panic!("{} has no place", member.name),
        Slot::Bool(place) => *place = Some(true),
        Slot::Int(place) => *place = i32::try_from(number(member.value)).ok(),
        Slot::Long(place) => *place = Some(1_700_000_000_123),
        Slot::Text(place) => *place = Some(value()),
        Slot::Bytes(place) if member.kind == Kind::Document => {
            *place = Some(
                format!(r#"{{"text":["{}",1.5,null]}}"#, mark(member).unwrap_or_default())
                    .into_bytes(),
            );
        }
        Slot::Bytes(place) => {
            *place = Some(mark(member).unwrap_or_else(|| "bytes".to_owned()).into_bytes())
        }
        Slot::Message(inner) => self::message(inner, mark),
        Slot::Texts(list) => list.extend((0..entries).map(|_| item())),
        Slot::Messages(list) => {
            for _ in 0..entries {
                self::message(list.push(), mark);
            }
        }
        Slot::TextMap(map) => {
            map.insert(key(), item());
        }
        Slot::MessageMap(map) => {
            if let Some(inner) = map.insert(key()) {
                self::message(inner, mark);
            }
        }
    }
}

/// One member at a valid value.
pub fn one(message: &mut dyn Message, index: usize, member: &Member) {
    self::member(message, index, member, &|_| None);
}

/// Every member at a valid value.
pub fn valid(target: &mut dyn Message) {
    message(target, &|_| None);
}
