//! The API as the protos describe it: messages with the options of their members, enumerations, exceptions, operations.

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, ExtensionDescriptor, Kind, ReflectMessage, Value,
};

use crate::Failure;

const PACKAGE: &str = "conclave.cognito.v1";

pub struct Model {
    pub messages: Vec<Message>,
    pub enums: Vec<Enum>,
    pub exceptions: Vec<Exception>,
    pub operations: Vec<Operation>,
}

pub struct Message {
    pub name: String,
    pub members: Vec<Member>,
    /// The one field of a wrapper around a list or map.
    pub wrapper: bool,
}

pub struct Member {
    pub field: String,
    pub json: String,
    pub required: bool,
    pub secret: bool,
    pub always: bool,
    pub wrapped: bool,
    pub kind: MemberKind,
    pub value: Option<Limits>,
    pub item: Option<Limits>,
    pub key: Option<Limits>,
}

#[derive(Clone, PartialEq)]
pub enum MemberKind {
    Bool,
    Int,
    Long,
    Timestamp,
    Text,
    Blob,
    Document,
    Message(String),
    TextList,
    MessageList(String),
    TextMap,
    MessageMap(String),
}

#[derive(Clone, PartialEq, Default)]
pub struct Limits {
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub pattern: Option<String>,
    pub enum_set: Option<String>,
    pub sensitive: bool,
}

pub struct Enum {
    pub name: String,
    pub values: Vec<String>,
}

pub struct Exception {
    pub name: String,
    pub fault: bool,
}

pub struct Operation {
    pub name: String,
    pub input: String,
    pub output: String,
    pub caller: String,
    pub category: String,
    pub errors: Vec<String>,
    pub no_output: bool,
}

impl Model {
    pub fn read(pool: &DescriptorPool) -> Result<Self, Failure> {
        let extension = |name: &str| {
            let full = format!("{PACKAGE}.{name}");
            pool.get_extension_by_name(&full).ok_or(format!("{full} is not declared"))
        };
        let member = extension("member")?;
        let file = |name: &str| {
            let full = format!("conclave/cognito/v1/{name}.proto");
            pool.get_file_by_name(&full).ok_or(format!("{full} is missing"))
        };

        let types = file("types")?;
        let mut messages = Vec::new();
        for message in types.messages().chain(file("operations")?.messages()) {
            let members: Vec<Member> = message
                .fields()
                .filter(|field| field.options().has_extension(&member))
                .map(|field| read_member(&field, &member))
                .collect::<Result<_, _>>()?;
            let wrapper = members.is_empty() && message.fields().len() == 1;
            messages.push(Message { name: message.name().to_owned(), members, wrapper });
        }

        let mut enums = Vec::new();
        for set in list(&types.options(), &extension("enum_sets")?) {
            enums.push(Enum { name: text(&set, "name"), values: texts(&set, "values") });
        }

        let service = file("service")?.services().next().ok_or("service.proto has no service")?;
        let mut exceptions = Vec::new();
        for exception in list(&service.options(), &extension("exceptions")?) {
            exceptions.push(Exception {
                name: text(&exception, "name"),
                fault: flag(&exception, "fault"),
            });
        }
        let operation = extension("operation")?;
        let mut operations = Vec::new();
        for method in service.methods() {
            let options = method.options();
            let options = options.get_extension(&operation);
            let options = options.as_message().ok_or("the operation option is no message")?;
            operations.push(Operation {
                name: method.name().to_owned(),
                input: method.input().name().to_owned(),
                output: method.output().name().to_owned(),
                caller: enum_name(options, "caller")
                    .ok_or(format!("{} has no caller", method.name()))?,
                category: text(options, "category"),
                errors: texts(options, "errors"),
                no_output: flag(options, "no_output"),
            });
        }
        operations.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { messages, enums, exceptions, operations })
    }

    pub fn message(&self, name: &str) -> Option<&Message> {
        self.messages.iter().find(|m| m.name == name)
    }
}

fn read_member(
    field: &prost_reflect::FieldDescriptor,
    extension: &ExtensionDescriptor,
) -> Result<Member, Failure> {
    let options = field.options();
    let options = options.get_extension(extension);
    let options = options.as_message().ok_or("the member option is no message")?;
    let kind = enum_name(options, "kind").unwrap_or_default();

    // A wrapped list or map is described by the wrapper's one field.
    let wrapper = match field.kind() {
        Kind::Message(message) if !field.is_map() && !field.is_list() => message
            .fields()
            .next()
            .filter(|inner| inner.name() == "items" && !inner.options().has_extension(extension)),
        _ => None,
    };
    let carrier = wrapper.as_ref().unwrap_or(field);
    let kind = if carrier.is_map() {
        let Kind::Message(entry) = carrier.kind() else {
            return Err("a map without entries".into());
        };
        match entry.map_entry_value_field().kind() {
            Kind::String => MemberKind::TextMap,
            Kind::Message(m) => MemberKind::MessageMap(m.name().to_owned()),
            other => return Err(format!("{}: a map of {other:?}", field.full_name()).into()),
        }
    } else {
        let list = carrier.cardinality() == Cardinality::Repeated;
        match (carrier.kind(), list, kind.as_str()) {
            (Kind::Bool, false, _) => MemberKind::Bool,
            (Kind::Int32, false, _) => MemberKind::Int,
            (Kind::Int64, false, "KIND_TIMESTAMP") => MemberKind::Timestamp,
            (Kind::Int64, false, _) => MemberKind::Long,
            (Kind::String, false, _) => MemberKind::Text,
            (Kind::Bytes, false, "KIND_DOCUMENT") => MemberKind::Document,
            (Kind::Bytes, false, _) => MemberKind::Blob,
            (Kind::Message(m), false, _) => MemberKind::Message(m.name().to_owned()),
            (Kind::String, true, _) => MemberKind::TextList,
            (Kind::Message(m), true, _) => MemberKind::MessageList(m.name().to_owned()),
            (other, ..) => {
                return Err(format!("{}: no member kind for {other:?}", field.full_name()).into());
            }
        }
    };
    Ok(Member {
        field: field.name().to_owned(),
        json: text(options, "name"),
        required: flag(options, "required"),
        secret: flag(options, "secret"),
        always: flag(options, "always"),
        wrapped: wrapper.is_some(),
        kind,
        value: limits(options, "value"),
        item: limits(options, "item"),
        key: limits(options, "key"),
    })
}

fn limits(options: &DynamicMessage, name: &str) -> Option<Limits> {
    if !options.has_field_by_name(name) {
        return None;
    }
    let value = options.get_field_by_name(name)?;
    let value = value.as_message()?;
    let number = |name| {
        value.has_field_by_name(name).then(|| value.get_field_by_name(name)?.as_i64()).flatten()
    };
    let string = |name| value.has_field_by_name(name).then(|| text(value, name));
    Some(Limits {
        min: number("min"),
        max: number("max"),
        pattern: string("pattern"),
        enum_set: string("enum_set"),
        sensitive: flag(value, "sensitive"),
    })
}

fn text(message: &DynamicMessage, name: &str) -> String {
    message.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn texts(message: &DynamicMessage, name: &str) -> Vec<String> {
    let Some(value) = message.get_field_by_name(name) else { return Vec::new() };
    value
        .as_list()
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn flag(message: &DynamicMessage, name: &str) -> bool {
    message.get_field_by_name(name).and_then(|v| v.as_bool()).unwrap_or_default()
}

fn enum_name(message: &DynamicMessage, name: &str) -> Option<String> {
    let field = message.descriptor().get_field_by_name(name)?;
    let Kind::Enum(kind) = field.kind() else { return None };
    let number = message.get_field(&field).as_enum_number()?;
    (number != 0).then(|| kind.get_value(number).map(|v| v.name().to_owned())).flatten()
}

fn list(options: &DynamicMessage, extension: &ExtensionDescriptor) -> Vec<DynamicMessage> {
    let value = options.get_extension(extension);
    value.as_list().unwrap_or_default().iter().filter_map(Value::as_message).cloned().collect()
}
