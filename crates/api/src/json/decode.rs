//! JSON to messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::reader::{Reader, Token};
use crate::error::ApiError;
use crate::message::{Kind, Member, Message, Ref, Slot};

type Result<T> = std::result::Result<T, ApiError>;

/// How many items all lists and maps of a request may have together. An empty structure takes two bytes in JSON and a
/// hundred times as much in memory.
const MOST_ITEMS: u32 = 10_000;

/// What is counted while a body is read.
#[derive(Default)]
struct Counts {
    unknown: u32,
    items: u32,
}

impl Counts {
    fn item(&mut self) -> Result<()> {
        self.items += 1;
        if self.items > MOST_ITEMS {
            return Err(ApiError::serialization("the body has too many items"));
        }
        Ok(())
    }
}

/// Reads a body into an empty message and says how many members it did not know. An empty body counts as `{}`.
pub(crate) fn decode(body: &[u8], message: &mut dyn Message) -> Result<u32> {
    let mut reader = Reader::new(body)?;
    if reader.at_end() {
        return Ok(0);
    }
    let mut counts = Counts::default();
    structure(&mut reader, message, &mut counts)?;
    if !reader.at_end() {
        return Err(ApiError::serialization("the body goes on after its end"));
    }
    Ok(counts.unknown)
}

fn structure(
    reader: &mut Reader<'_>,
    message: &mut dyn Message,
    counts: &mut Counts,
) -> Result<()> {
    expect(reader, Token::Object, "Structure")?;
    reader.enter()?;
    let shape = message.shape();
    let mut first = true;
    let mut seen = 0u64;
    // Most clients write members in the order of the model, so the next one is looked at first.
    let mut next = 0;
    while let Some(key) = reader.next_key(&mut first)? {
        let index = match shape.members.get(next) {
            Some(member) if member.name == key => Some(next),
            _ => shape.find(key.as_bytes()),
        };
        let Some((index, member)) =
            index.and_then(|index| Some((index, shape.members.get(index)?)))
        else {
            counts.unknown = counts.unknown.saturating_add(1);
            reader.skip()?;
            continue;
        };
        if seen & (1 << index) != 0 {
            return Err(ApiError::serialization(format!(
                "the member {} is there twice",
                member.name
            )));
        }
        seen |= 1 << index;
        next = index + 1;
        if member.kind == Kind::Document {
            document(reader, message, index)?;
        } else if reader.peek()? == Token::Null {
            reader.word("null")?;
        } else {
            value(reader, member, message.slot(index), counts)?;
        }
    }
    Ok(())
}

fn document(reader: &mut Reader<'_>, message: &mut dyn Message, index: usize) -> Result<()> {
    let start = reader.position();
    let token = reader.peek()?;
    reader.skip()?;
    if let (Slot::Bytes(place), true) = (message.slot(index), token != Token::Null) {
        *place = Some(reader.since(start).to_vec());
    }
    Ok(())
}

fn value(
    reader: &mut Reader<'_>,
    member: &Member,
    slot: Slot<'_>,
    counts: &mut Counts,
) -> Result<()> {
    match slot {
        Slot::None => reader.skip()?,
        Slot::Bool(place) => {
            *place = Some(match reader.peek()? {
                Token::True => reader.word("true").map(|()| true)?,
                Token::False => reader.word("false").map(|()| false)?,
                other => return Err(wrong_type(other, "Boolean")),
            });
        }
        Slot::Int(place) => *place = Some(integer(reader, "Integer")?),
        Slot::Long(place) if member.kind == Kind::Timestamp => *place = Some(timestamp(reader)?),
        Slot::Long(place) => *place = Some(integer(reader, "Long")?),
        Slot::Text(place) => *place = Some(text(reader)?),
        Slot::Bytes(place) => {
            expect(reader, Token::String, "Blob")?;
            let encoded = reader.string()?;
            let decoded = STANDARD.decode(encoded.as_bytes());
            *place =
                Some(decoded.map_err(|_| ApiError::serialization("a blob is not valid base64"))?);
        }
        Slot::Message(inner) => structure(reader, inner, counts)?,
        Slot::Texts(list) => {
            expect(reader, Token::List, "List")?;
            reader.enter()?;
            let mut first = true;
            while reader.next_item(&mut first)? {
                counts.item()?;
                list.push(text(reader)?);
            }
        }
        Slot::Messages(list) => {
            expect(reader, Token::List, "List")?;
            reader.enter()?;
            let mut first = true;
            while reader.next_item(&mut first)? {
                counts.item()?;
                structure(reader, list.push(), counts)?;
            }
        }
        Slot::TextMap(map) => {
            expect(reader, Token::Object, "Map")?;
            reader.enter()?;
            let mut first = true;
            while let Some(key) = reader.next_key(&mut first)? {
                counts.item()?;
                if reader.peek()? == Token::Null {
                    reader.word("null")?;
                } else if map.insert(key.into_owned(), text(reader)?).is_some() {
                    return Err(twice());
                }
            }
        }
        Slot::MessageMap(map) => {
            expect(reader, Token::Object, "Map")?;
            reader.enter()?;
            let mut first = true;
            while let Some(key) = reader.next_key(&mut first)? {
                counts.item()?;
                if reader.peek()? == Token::Null {
                    reader.word("null")?;
                } else {
                    structure(reader, map.insert(key.into_owned()).ok_or_else(twice)?, counts)?;
                }
            }
        }
    }
    Ok(())
}

fn twice() -> ApiError {
    ApiError::serialization("a key of a map is there twice")
}

fn text(reader: &mut Reader<'_>) -> Result<String> {
    expect(reader, Token::String, "String")?;
    Ok(reader.string()?.into_owned())
}

fn integer<T: std::str::FromStr>(reader: &mut Reader<'_>, kind: &str) -> Result<T> {
    expect(reader, Token::Number, kind)?;
    let written = reader.number()?;
    if written.contains(['.', 'e', 'E']) {
        return Err(ApiError::serialization(format!(
            "DECIMAL_VALUE cannot be converted to {kind}"
        )));
    }
    written
        .parse()
        .map_err(|_| ApiError::serialization(format!("NUMBER_VALUE is out of the range of {kind}")))
}

/// Seconds since 1970 with a fraction, as milliseconds.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn timestamp(reader: &mut Reader<'_>) -> Result<i64> {
    /// Far beyond the year 9999, and exact in a double.
    const MOST: f64 = 1e15;
    expect(reader, Token::Number, "Timestamp")?;
    let seconds: f64 =
        reader.number()?.parse().map_err(|_| wrong_type(Token::Number, "Timestamp"))?;
    let milliseconds = (seconds * 1000.0).round();
    if milliseconds.abs() <= MOST {
        Ok(milliseconds as i64)
    } else {
        Err(wrong_type(Token::Number, "Timestamp"))
    }
}

fn expect(reader: &mut Reader<'_>, token: Token, kind: &str) -> Result<()> {
    let found = reader.peek()?;
    if found == token { Ok(()) } else { Err(wrong_type(found, kind)) }
}

/// The texts that AWS services give, as far as they are known.
fn wrong_type(found: Token, kind: &str) -> ApiError {
    let name = match found {
        Token::Object => {
            return ApiError::serialization("Start of structure or map found where not expected");
        }
        Token::List => return ApiError::serialization("Start of list found where not expected"),
        Token::Null => "NULL_VALUE",
        Token::True => "TRUE_VALUE",
        Token::False => "FALSE_VALUE",
        Token::Number => "NUMBER_VALUE",
        Token::String => "STRING_VALUE",
    };
    ApiError::serialization(format!("{name} cannot be converted to {kind}"))
}

/// Whether the bytes are one JSON value.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    let check = || -> Result<bool> {
        let mut reader = Reader::new(bytes)?;
        reader.skip()?;
        Ok(reader.at_end())
    };
    check().unwrap_or(false)
}

/// Checks the documents of a message that did not come as JSON.
pub(crate) fn check_documents(message: &dyn Message) -> Result<()> {
    for (index, member) in message.shape().members.iter().enumerate() {
        match (member.kind, message.get(index)) {
            (Kind::Document, Ref::Bytes(bytes)) if !is_json(bytes) => {
                return Err(ApiError::serialization(format!("{} is not valid JSON", member.name)));
            }
            (_, Ref::Message(inner)) => check_documents(inner)?,
            (_, Ref::Messages(list)) => {
                for inner in (0..list.len()).filter_map(|i| list.get(i)) {
                    check_documents(inner)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
