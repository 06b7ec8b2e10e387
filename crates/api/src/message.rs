//! What all message types have in common: a table of their members, and access to each by its position.
//!
//! JSON, validation, redaction and refusals are written once over this, so a message costs two small functions and a table.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;

use crate::error::ApiError;
use crate::pattern::Pattern;
use crate::validate::Violations;

/// A structure of the API, behind a pointer that forgets which.
pub trait Message: Any + fmt::Debug + Send + Sync {
    /// What the model says about the structure.
    fn shape(&self) -> &'static Shape;
    /// The member at a position in `shape().members`.
    fn get(&self, index: usize) -> Ref<'_>;
    /// The place of that member. For structures, and for lists and maps whose presence is kept, asking makes it present.
    fn slot(&mut self, index: usize) -> Slot<'_>;
    /// The message as a trait object.
    fn as_message(&self) -> &dyn Message;
    /// The message as a trait object.
    fn as_message_mut(&mut self) -> &mut dyn Message;
    /// Appends the protobuf form.
    fn encode_proto(&self, out: &mut Vec<u8>);
    /// Reads the protobuf form.
    ///
    /// # Errors
    /// When the bytes are not that of this message.
    fn merge_proto(&mut self, bytes: &[u8]) -> Result<(), prost::DecodeError>;

    /// Appends the AWS JSON 1.1 form.
    fn encode_json(&self, out: &mut Vec<u8>) {
        crate::json::encode(self.as_message(), out);
    }

    /// Adds every broken constraint of the model.
    fn validate(&self, violations: &mut Violations) {
        crate::validate::message(self.as_message(), violations);
    }
}

impl dyn Message {
    /// The message as the type that it is.
    #[must_use]
    pub fn downcast_ref<T: Message>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }

    /// The message as the type that it is.
    ///
    /// # Errors
    /// An internal error when it is another type: the table of operations and the handlers disagree.
    pub fn downcast<T: Message>(self: Box<Self>) -> Result<T, ApiError> {
        let name = self.shape().name;
        let any: Box<dyn Any> = self;
        match any.downcast::<T>() {
            Ok(message) => Ok(*message),
            Err(_) => Err(ApiError::internal(format!("a handler was given a {name}"))),
        }
    }
}

/// A structure of the model.
#[derive(Debug)]
pub struct Shape {
    /// The name of its Rust type and proto message.
    pub name: &'static str,
    /// In the order of the model.
    pub members: &'static [Member],
    /// Positions in `members`, sorted by JSON name.
    pub(crate) by_name: &'static [usize],
}

impl Shape {
    /// The position of a member by its JSON name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let at = self.by_name.binary_search_by(|&i| {
            self.members.get(i).map_or(&[][..], |m| m.name.as_bytes()).cmp(name)
        });
        self.by_name.get(at.ok()?).copied()
    }
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    /// The JSON name, verbatim from the model.
    pub name: &'static str,
    /// The name in validation texts.
    pub path: &'static str,
    /// The JSON name in quotes with a colon.
    pub(crate) key: &'static str,
    pub kind: Kind,
    /// The structure of the value, of each element, or of each map value.
    pub shape: Option<&'static Shape>,
    pub required: bool,
    /// A list or map that is written even when it is empty.
    pub always: bool,
    /// The model's mark: neither logged nor echoed in validation texts.
    pub sensitive: bool,
    /// Our own mark: as sensitive, but an empty value is echoed.
    pub secret: bool,
    /// Constraints on the value; for lists and maps on the number of entries.
    pub value: Option<&'static Limits>,
    /// Constraints on each element of a list or value of a map.
    pub item: Option<&'static Limits>,
    /// Constraints on each key of a map.
    pub map_key: Option<&'static Limits>,
}

/// What a member holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// Milliseconds since 1970.
    Timestamp,
    Text,
    /// Bytes; base64 in JSON.
    Blob,
    /// Bytes of valid JSON.
    Document,
    Message,
    TextList,
    MessageList,
    TextMap,
    MessageMap,
}

/// Constraints on one value. Lengths of strings count Unicode characters, those of blobs bytes.
#[derive(Debug)]
pub struct Limits {
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub pattern: Option<&'static Pattern>,
    /// The values of an enumeration.
    pub values: Option<&'static [&'static str]>,
}

/// A member's value.
#[derive(Clone, Copy)]
pub enum Ref<'a> {
    Absent,
    Bool(bool),
    Int(i32),
    /// Also timestamps.
    Long(i64),
    Text(&'a str),
    /// Blobs and documents.
    Bytes(&'a [u8]),
    Message(&'a dyn Message),
    Texts(&'a [String]),
    Messages(&'a dyn MessageList),
    TextMap(&'a BTreeMap<String, String>),
    MessageMap(&'a dyn MessageMap),
}

/// The place of a member's value.
pub enum Slot<'a> {
    None,
    Bool(&'a mut Option<bool>),
    Int(&'a mut Option<i32>),
    /// Also timestamps.
    Long(&'a mut Option<i64>),
    Text(&'a mut Option<String>),
    /// Blobs and documents.
    Bytes(&'a mut Option<Vec<u8>>),
    Message(&'a mut dyn Message),
    Texts(&'a mut Vec<String>),
    Messages(&'a mut dyn MessageList),
    TextMap(&'a mut BTreeMap<String, String>),
    MessageMap(&'a mut dyn MessageMap),
}

/// A list of structures.
pub trait MessageList {
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn get(&self, index: usize) -> Option<&dyn Message>;
    /// Appends an empty structure.
    fn push(&mut self) -> &mut dyn Message;
}

impl<T: Message + Default> MessageList for Vec<T> {
    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, index: usize) -> Option<&dyn Message> {
        Some(<[T]>::get(self, index)?.as_message())
    }

    fn push(&mut self) -> &mut dyn Message {
        self.push_mut(T::default())
    }
}

/// A map from strings to structures.
pub trait MessageMap {
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Calls `visit` with every entry, in the order of the keys.
    fn each(&self, visit: &mut dyn FnMut(&str, &dyn Message));
    /// Puts an empty structure at the key; `None` when the key is there already.
    fn insert(&mut self, key: String) -> Option<&mut dyn Message>;
}

impl<T: Message + Default> MessageMap for BTreeMap<String, T> {
    fn len(&self) -> usize {
        self.len()
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &dyn Message)) {
        for (key, value) in self {
            visit(key, value.as_message());
        }
    }

    fn insert(&mut self, key: String) -> Option<&mut dyn Message> {
        match self.entry(key) {
            std::collections::btree_map::Entry::Vacant(place) => {
                Some(place.insert(T::default()).as_message_mut())
            }
            std::collections::btree_map::Entry::Occupied(_) => None,
        }
    }
}

/// How the generated code reads each kind of field.
pub(crate) mod get {
    use super::{BTreeMap, Message, Ref};

    pub fn bool(value: Option<bool>) -> Ref<'static> {
        value.map_or(Ref::Absent, Ref::Bool)
    }

    pub fn int(value: Option<i32>) -> Ref<'static> {
        value.map_or(Ref::Absent, Ref::Int)
    }

    pub fn long(value: Option<i64>) -> Ref<'static> {
        value.map_or(Ref::Absent, Ref::Long)
    }

    pub fn text(value: &Option<String>) -> Ref<'_> {
        value.as_deref().map_or(Ref::Absent, Ref::Text)
    }

    pub fn bytes(value: &Option<Vec<u8>>) -> Ref<'_> {
        value.as_deref().map_or(Ref::Absent, Ref::Bytes)
    }

    pub fn message<T: Message>(value: &Option<T>) -> Ref<'_> {
        match value {
            Some(message) => Ref::Message(message),
            None => Ref::Absent,
        }
    }

    pub fn texts(value: &[String]) -> Ref<'_> {
        if value.is_empty() { Ref::Absent } else { Ref::Texts(value) }
    }

    pub fn messages<T: Message + Default>(value: &Vec<T>) -> Ref<'_> {
        if value.is_empty() { Ref::Absent } else { Ref::Messages(value) }
    }

    pub fn text_map(value: &BTreeMap<String, String>) -> Ref<'_> {
        if value.is_empty() { Ref::Absent } else { Ref::TextMap(value) }
    }

    pub fn message_map<T: Message + Default>(value: &BTreeMap<String, T>) -> Ref<'_> {
        if value.is_empty() { Ref::Absent } else { Ref::MessageMap(value) }
    }
}

/// The parts of `prost` that the generated code calls.
pub(crate) mod codec {
    pub fn encode<T: prost::Message>(message: &T, out: &mut Vec<u8>) {
        // Encoding fails only when the buffer cannot grow, which a Vec can.
        let encoded = message.encode(out);
        debug_assert!(encoded.is_ok());
    }
}
