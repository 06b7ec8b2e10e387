//! Debug output of messages: every member by name, secrets as `***`.

use std::fmt;

use crate::message::{Message, Ref};

struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

struct Value<'a>(Ref<'a>);

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ref::Absent => f.write_str("absent"),
            Ref::Bool(value) => value.fmt(f),
            Ref::Int(value) => value.fmt(f),
            Ref::Long(value) => value.fmt(f),
            Ref::Text(value) => value.fmt(f),
            Ref::Bytes(value) => write!(f, "[{} bytes]", value.len()),
            Ref::Message(value) => value.fmt(f),
            Ref::Texts(values) => values.fmt(f),
            Ref::Messages(values) => {
                let mut list = f.debug_list();
                for value in (0..values.len()).filter_map(|i| values.get(i)) {
                    list.entry(&value);
                }
                list.finish()
            }
            Ref::TextMap(values) => values.fmt(f),
            Ref::MessageMap(values) => {
                let mut map = f.debug_map();
                values.each(&mut |key, value| {
                    map.entry(&key, &value);
                });
                map.finish()
            }
        }
    }
}

pub(crate) fn fmt(message: &dyn Message, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shape = message.shape();
    let mut out = f.debug_struct(shape.name);
    for (index, member) in shape.members.iter().enumerate() {
        match message.get(index) {
            Ref::Absent => {}
            _ if member.sensitive || member.secret => {
                out.field(member.name, &Hidden);
            }
            value => {
                out.field(member.name, &Value(value));
            }
        }
    }
    out.finish()
}
