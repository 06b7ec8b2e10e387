//! Writes the tables that the code in `src/` walks. One message costs two small functions and one table; what is done with
//! them (JSON, validation, Debug, refusals) is written once, in `src/`.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::{Limits, Member, MemberKind, Message, Model};
use crate::refusals::{Refusal, Rule};
use crate::{Failure, pattern};

/// Enough for the bit set of members that a decoder has seen.
const MOST_MEMBERS: usize = 64;

pub fn shapes(model: &Model) -> Result<String, Failure> {
    let mut pool = Pool::default();
    let mut out = String::new();
    for message in &model.messages {
        if message.wrapper {
            let name = &message.name;
            writeln!(
                out,
                "impl std::fmt::Debug for types::{name} {{ fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{ \
                 write!(f, \"[{{}} items]\", self.items.len()) }} }}"
            )?;
        } else {
            shape(&mut out, message, &mut pool)?;
        }
    }
    out.push_str(&pool.out);
    writeln!(out, "/// Every structure of the API.\npub static SHAPES: &[&Shape] = &[")?;
    for message in model.messages.iter().filter(|m| !m.wrapper) {
        writeln!(out, "&{},", shape_name(&message.name))?;
    }
    writeln!(out, "];")?;
    Ok(out)
}

/// Tables that several members share.
#[derive(Default)]
struct Pool {
    out: String,
    limits: BTreeMap<String, String>,
    patterns: BTreeMap<String, String>,
}

fn shape_name(message: &str) -> String {
    format!("SHAPE_{}", constant(message))
}

/// `UserPoolType` -> `USER_POOL_TYPE`.
fn constant(name: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for c in name.chars() {
        if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            out.push('_');
        }
        out.push(if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
        before = c;
    }
    out
}

fn shape(out: &mut String, message: &Message, pool: &mut Pool) -> Result<(), Failure> {
    let name = &message.name;
    let table = shape_name(name);
    if message.members.len() > MOST_MEMBERS {
        return Err(format!("{name} has more than {MOST_MEMBERS} members").into());
    }
    let mut order: Vec<usize> = (0..message.members.len()).collect();
    order.sort_by_key(|&i| message.members[i].json.as_bytes());

    writeln!(out, "static {table}: Shape = Shape {{ name: {name:?}, members: &[")?;
    for member in &message.members {
        writeln!(out, "{},", describe(member, pool)?)?;
    }
    writeln!(out, "], by_name: &{order:?} }};")?;

    writeln!(out, "impl Message for types::{name} {{")?;
    writeln!(out, "fn shape(&self) -> &'static Shape {{ &{table} }}")?;
    writeln!(out, "fn as_message(&self) -> &dyn Message {{ self }}")?;
    writeln!(out, "fn as_message_mut(&mut self) -> &mut dyn Message {{ self }}")?;
    writeln!(out, "fn encode_proto(&self, out: &mut Vec<u8>) {{ codec::encode(self, out) }}")?;
    writeln!(
        out,
        "fn merge_proto(&mut self, bytes: &[u8]) -> Result<(), prost::DecodeError> {{ prost::Message::merge(self, bytes) }}"
    )?;
    if message.members.is_empty() {
        writeln!(out, "fn get(&self, _: usize) -> Ref<'_> {{ Ref::Absent }}")?;
        writeln!(out, "fn slot(&mut self, _: usize) -> Slot<'_> {{ Slot::None }}")?;
    } else {
        writeln!(out, "fn get(&self, index: usize) -> Ref<'_> {{ match index {{")?;
        for (index, member) in message.members.iter().enumerate() {
            writeln!(out, "{index} => {},", getter(member))?;
        }
        writeln!(out, "_ => Ref::Absent }} }}")?;
        writeln!(out, "fn slot(&mut self, index: usize) -> Slot<'_> {{ match index {{")?;
        for (index, member) in message.members.iter().enumerate() {
            writeln!(out, "{index} => {},", slot(member))?;
        }
        writeln!(out, "_ => Slot::None }} }}")?;
    }
    writeln!(out, "}}")?;
    writeln!(
        out,
        "impl std::fmt::Debug for types::{name} {{ fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{ \
         redact::fmt(self, f) }} }}"
    )?;
    Ok(())
}

/// The Rust name of a field; `prost` escapes keywords in the same way.
fn rust_field(name: &str) -> String {
    match name {
        "type" | "match" | "ref" | "in" | "use" | "where" | "move" | "mod" | "enum" => {
            format!("r#{name}")
        }
        other => other.to_owned(),
    }
}

fn getter(member: &Member) -> String {
    let field = rust_field(&member.field);
    let value = match (&member.kind, member.wrapped) {
        (MemberKind::Bool, _) => return format!("get::bool(self.{field})"),
        (MemberKind::Int, _) => return format!("get::int(self.{field})"),
        (MemberKind::Long | MemberKind::Timestamp, _) => return format!("get::long(self.{field})"),
        (MemberKind::Text, _) => "text",
        (MemberKind::Blob | MemberKind::Document, _) => "bytes",
        (MemberKind::Message(_), _) => "message",
        (MemberKind::TextList, false) => "texts",
        (MemberKind::MessageList(_), false) => "messages",
        (MemberKind::TextMap, false) => "text_map",
        (MemberKind::MessageMap(_), false) => "message_map",
        (MemberKind::TextList, true) => {
            return format!(
                "match &self.{field} {{ Some(w) => Ref::Texts(&w.items), None => Ref::Absent }}"
            );
        }
        (MemberKind::MessageList(_), true) => {
            return format!(
                "match &self.{field} {{ Some(w) => Ref::Messages(&w.items), None => Ref::Absent }}"
            );
        }
        (MemberKind::TextMap, true) => {
            return format!(
                "match &self.{field} {{ Some(w) => Ref::TextMap(&w.items), None => Ref::Absent }}"
            );
        }
        (MemberKind::MessageMap(_), true) => {
            return format!(
                "match &self.{field} {{ Some(w) => Ref::MessageMap(&w.items), None => Ref::Absent }}"
            );
        }
    };
    format!("get::{value}(&self.{field})")
}

fn slot(member: &Member) -> String {
    let field = rust_field(&member.field);
    let target = if member.wrapped {
        format!("&mut self.{field}.get_or_insert_default().items")
    } else {
        format!("&mut self.{field}")
    };
    match &member.kind {
        MemberKind::Bool => format!("Slot::Bool({target})"),
        MemberKind::Int => format!("Slot::Int({target})"),
        MemberKind::Long | MemberKind::Timestamp => format!("Slot::Long({target})"),
        MemberKind::Text => format!("Slot::Text({target})"),
        MemberKind::Blob | MemberKind::Document => format!("Slot::Bytes({target})"),
        MemberKind::Message(_) => format!("Slot::Message(self.{field}.get_or_insert_default())"),
        MemberKind::TextList => format!("Slot::Texts({target})"),
        MemberKind::MessageList(_) => format!("Slot::Messages({target})"),
        MemberKind::TextMap => format!("Slot::TextMap({target})"),
        MemberKind::MessageMap(_) => format!("Slot::MessageMap({target})"),
    }
}

fn describe(member: &Member, pool: &mut Pool) -> Result<String, Failure> {
    let (kind, shape) = match &member.kind {
        MemberKind::Bool => ("Bool", None),
        MemberKind::Int => ("Int", None),
        MemberKind::Long => ("Long", None),
        MemberKind::Timestamp => ("Timestamp", None),
        MemberKind::Text => ("Text", None),
        MemberKind::Blob => ("Blob", None),
        MemberKind::Document => ("Document", None),
        MemberKind::TextList => ("TextList", None),
        MemberKind::TextMap => ("TextMap", None),
        MemberKind::Message(name) => ("Message", Some(name)),
        MemberKind::MessageList(name) => ("MessageList", Some(name)),
        MemberKind::MessageMap(name) => ("MessageMap", Some(name)),
    };
    let mut path = member.json.clone();
    if let Some(first) = path.get_mut(0..1) {
        first.make_ascii_lowercase();
    }
    let key = format!("\"{}\":", member.json);
    let sensitive =
        [&member.value, &member.item, &member.key].into_iter().flatten().any(|l| l.sensitive);
    Ok(format!(
        "Member {{ name: {:?}, path: {path:?}, key: {key:?}, kind: Kind::{kind}, shape: {}, required: {}, always: {}, \
         sensitive: {sensitive}, secret: {}, value: {}, item: {}, map_key: {} }}",
        member.json,
        shape.map_or("None".to_owned(), |name| format!("Some(&{})", shape_name(name))),
        member.required,
        member.always,
        member.secret,
        limits(&member.value, pool)?,
        limits(&member.item, pool)?,
        limits(&member.key, pool)?,
    ))
}

fn limits(limits: &Option<Limits>, pool: &mut Pool) -> Result<String, Failure> {
    let Some(limits) = limits else { return Ok("None".to_owned()) };
    if *limits == (Limits { sensitive: limits.sensitive, ..Limits::default() }) {
        return Ok("None".to_owned());
    }
    let pattern = match &limits.pattern {
        Some(java) => format!("Some(&{})", pattern_table(java, pool)?),
        None => "None".to_owned(),
    };
    let values = match &limits.enum_set {
        Some(name) => format!("Some(crate::enums::values::{})", constant(name)),
        None => "None".to_owned(),
    };
    let text = format!(
        "Limits {{ min: {:?}, max: {:?}, pattern: {pattern}, values: {values} }}",
        limits.min, limits.max
    );
    let next = pool.limits.len();
    let name = match pool.limits.get(&text) {
        Some(name) => name.clone(),
        None => {
            let name = format!("LIMITS_{next}");
            writeln!(pool.out, "static {name}: Limits = {text};")?;
            pool.limits.insert(text, name.clone());
            name
        }
    };
    Ok(format!("Some(&{name})"))
}

fn pattern_table(java: &str, pool: &mut Pool) -> Result<String, Failure> {
    if let Some(name) = pool.patterns.get(java) {
        return Ok(name.clone());
    }
    let translated =
        pattern::translate(java).ok_or(format!("the pattern {java} cannot be translated"))?;
    let name = format!("PATTERN_{}", pool.patterns.len());
    writeln!(
        pool.out,
        "static {name}: Pattern = Pattern::new({java:?}, {:?}, {}, {:?});",
        translated.regex, translated.one_class, translated.not_at_end
    )?;
    pool.patterns.insert(java.to_owned(), name.clone());
    Ok(name)
}

pub fn enums(model: &Model) -> Result<String, Failure> {
    let mut out = String::new();
    for set in &model.enums {
        write!(out, "open_enum! {{ {} {{ ", set.name)?;
        for value in &set.values {
            write!(out, "{} = {value:?}, ", variant(value))?;
        }
        writeln!(out, "}} }}")?;
    }
    writeln!(
        out,
        "/// The known values of each enumeration, in the order of the model.\npub mod values {{"
    )?;
    for set in &model.enums {
        writeln!(out, "/// Of [`super::{}`].", set.name)?;
        writeln!(out, "pub static {}: &[&str] = &{:?};", constant(&set.name), set.values)?;
    }
    writeln!(out, "}}")?;
    Ok(out)
}

/// `USER_SRP_AUTH` -> `UserSrpAuth`, `phone_number` -> `PhoneNumber`, `NoRisk` -> `NoRisk`.
fn variant(value: &str) -> String {
    if value == "UNKNOWN" {
        return "UnknownValue".to_owned(); // `Unknown` holds what the model does not list
    }
    let mut out = String::new();
    for part in value.split(|c: char| !c.is_ascii_alphanumeric()) {
        let shouting = !part.chars().any(|c| c.is_ascii_lowercase());
        for (index, c) in part.chars().enumerate() {
            match (index, shouting) {
                (0, _) => out.push(c.to_ascii_uppercase()),
                (_, true) => out.push(c.to_ascii_lowercase()),
                (_, false) => out.push(c),
            }
        }
    }
    out
}

pub fn exceptions(model: &Model) -> Result<String, Failure> {
    let mut out = String::from("exceptions! {\n");
    for exception in &model.exceptions {
        writeln!(out, "{} {},", exception.name, exception.fault)?;
    }
    out.push_str("}\n");
    Ok(out)
}

pub fn operations(model: &Model, refusals: &[Refusal]) -> Result<String, Failure> {
    let mut out = String::from(
        "/// Every operation, sorted by name.\npub static OPERATIONS: &[Operation] = &[\n",
    );
    for operation in &model.operations {
        let caller = match operation.caller.as_str() {
            "CALLER_SIGV4" => "SigV4",
            "CALLER_ACCESS_TOKEN" => "AccessToken",
            "CALLER_ACCESS_TOKEN_OR_SESSION" => "AccessTokenOrSession",
            "CALLER_CLIENT_SECRET_HASH" => "ClientSecretHash",
            "CALLER_CLIENT_SECRET" => "ClientSecret",
            "CALLER_FEEDBACK_TOKEN" => "FeedbackToken",
            other => return Err(format!("{}: unknown caller {other}", operation.name).into()),
        };
        let errors: Vec<String> =
            operation.errors.iter().map(|e| format!("ExceptionName::{e}")).collect();
        let own: Vec<String> =
            refusals.iter().filter(|r| r.operation == operation.name).map(refusal).collect();
        writeln!(
            out,
            "Operation {{ name: {:?}, caller: Caller::{caller}, category: Category::{}, errors: &[{}], has_output: {}, \
             refusals: &[{}], input: new::<types::{}>, output: new::<types::{}>, path: {:?} }},",
            operation.name,
            operation.category,
            errors.join(", "),
            !operation.no_output,
            own.join(", "),
            operation.input,
            operation.output,
            format!("/conclave.cognito.v1.CognitoIdentityProvider/{}", operation.name),
        )?;
    }
    out.push_str("];\n\n/// One type for each operation, to name it where its input and output types matter.\npub mod ops {\nuse super::*;\n");
    for (index, operation) in model.operations.iter().enumerate() {
        let name = operation.input.strip_suffix("Request").unwrap_or(&operation.input);
        writeln!(
            out,
            "op! {{ {name} {:?} {index} types::{}, types::{} }}",
            operation.name, operation.input, operation.output
        )?;
    }
    out.push_str("}\n");
    Ok(out)
}

fn refusal(refusal: &Refusal) -> String {
    let rule = match &refusal.rule {
        Rule::Empty => "Rule::Empty".to_owned(),
        Rule::Off(values) => format!("Rule::Off(&{values:?})"),
        Rule::On(values) => format!("Rule::On(&{values:?})"),
    };
    format!("Refusal {{ member: {:?}, steps: &{:?}, rule: {rule} }}", refusal.path, refusal.steps)
}
