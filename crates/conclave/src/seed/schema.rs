//! A seed's form as a JSON schema (draft 2020-12), for editors and for checks before a server is there.

use std::collections::BTreeMap;

use conclave_api::{Kind, Limits, Member, Shape};
use serde_json::{Map, Value as Json, json};

use super::form::{Form, Own, OwnKind, ROOT};

/// The schema.
pub fn schema() -> Json {
    let mut shapes = Shapes::default();
    let mut root = form(&ROOT, &mut shapes);
    let mut definitions = Map::new();
    // structures lead to further ones until all are known
    while let Some((name, shape)) = shapes.wanted.pop_first() {
        if !definitions.contains_key(name) {
            let definition = structure(shape, &mut shapes);
            definitions.insert(name.to_owned(), definition);
        }
    }
    definitions.sort_keys();
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Conclave seed",
        "description": "What `conclave dev --seed` and `conclave seed apply` bring a server to.",
    });
    let mut whole = match head {
        Json::Object(head) => head,
        _ => Map::new(),
    };
    if let Some(members) = root.as_object_mut() {
        whole.append(members);
    }
    whole.insert("$defs".to_owned(), Json::Object(definitions));
    Json::Object(whole)
}

/// The schema as the file holds it.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

#[derive(Default)]
struct Shapes {
    wanted: BTreeMap<&'static str, &'static Shape>,
}

impl Shapes {
    fn reference(&mut self, shape: Option<&'static Shape>) -> Json {
        let Some(shape) = shape else { return json!({ "type": "object" }) };
        self.wanted.insert(shape.name, shape);
        json!({ "$ref": format!("#/$defs/{}", shape.name) })
    }
}

fn form(form: &Form, shapes: &mut Shapes) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for own in form.own {
        properties.insert(own.name.to_owned(), own_member(own));
        if own.is_required {
            required.push(own.name);
        }
    }
    for known in form.members() {
        properties.insert(known.name.to_owned(), member(known, shapes));
        if known.required {
            required.push(known.name);
        }
    }
    for child in form.children {
        let items = self::form(child, shapes);
        properties.insert(child.list.to_owned(), json!({ "type": "array", "items": items }));
    }
    object(properties, &required)
}

fn object(properties: Map<String, Json>, required: &[&str]) -> Json {
    let mut object = Map::from_iter([
        ("type".to_owned(), Json::from("object")),
        ("additionalProperties".to_owned(), Json::from(false)),
        ("properties".to_owned(), Json::Object(properties)),
    ]);
    if !required.is_empty() {
        object.insert("required".to_owned(), Json::from(required.to_vec()));
    }
    Json::Object(object)
}

fn own_member(own: &Own) -> Json {
    let mut schema = match own.kind {
        OwnKind::Text => json!({ "type": "string" }),
        OwnKind::Flag => json!({ "type": "boolean" }),
        OwnKind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
    };
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), Json::from(own.about));
    }
    schema
}

fn structure(shape: &'static Shape, shapes: &mut Shapes) -> Json {
    let mut properties = Map::new();
    for known in shape.members {
        properties.insert(known.name.to_owned(), member(known, shapes));
    }
    let required = shape.members.iter().filter(|member| member.required);
    object(properties, &required.map(|member| member.name).collect::<Vec<_>>())
}

fn member(member: &Member, shapes: &mut Shapes) -> Json {
    let list = |items: Json| {
        let mut schema =
            Map::from_iter([("type".to_owned(), Json::from("array")), ("items".to_owned(), items)]);
        bounds(member.value, "Items", &mut schema);
        Json::Object(schema)
    };
    let table = |values: Json| {
        let mut schema = Map::from_iter([
            ("type".to_owned(), Json::from("object")),
            ("additionalProperties".to_owned(), values),
        ]);
        bounds(member.value, "Properties", &mut schema);
        Json::Object(schema)
    };
    match member.kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int | Kind::Long | Kind::Timestamp => number(member.value),
        Kind::Text => text_value(member.value),
        Kind::Blob => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Document => json!({}),
        Kind::Message => shapes.reference(member.shape),
        Kind::TextList => list(text_value(member.item)),
        Kind::MessageList => list(shapes.reference(member.shape)),
        Kind::TextMap => table(text_value(member.item)),
        Kind::MessageMap => table(shapes.reference(member.shape)),
    }
}

fn bounds(limits: Option<&Limits>, of: &str, schema: &mut Map<String, Json>) {
    let Some(limits) = limits else { return };
    if let Some(min) = limits.min.filter(|min| *min > 0) {
        schema.insert(format!("min{of}"), Json::from(min));
    }
    if let Some(max) = limits.max {
        schema.insert(format!("max{of}"), Json::from(max));
    }
}

fn number(limits: Option<&Limits>) -> Json {
    let mut schema = Map::from_iter([("type".to_owned(), Json::from("integer"))]);
    if let Some(limits) = limits {
        schema.extend(limits.min.map(|min| ("minimum".to_owned(), Json::from(min))));
        schema.extend(limits.max.map(|max| ("maximum".to_owned(), Json::from(max))));
    }
    Json::Object(schema)
}

fn text_value(limits: Option<&Limits>) -> Json {
    let mut schema = Map::from_iter([("type".to_owned(), Json::from("string"))]);
    bounds(limits, "Length", &mut schema);
    if let Some(values) = limits.and_then(|limits| limits.values) {
        schema.insert("enum".to_owned(), Json::from(values.to_vec()));
    }
    // Java's flags have no place in a schema; what is left out is checked by the server
    if let Some(pattern) = limits.and_then(|limits| limits.pattern)
        && !pattern.source().contains("(?")
    {
        let anchored = format!("^(?:{})$", pattern.source());
        schema.insert("pattern".to_owned(), Json::from(anchored));
    }
    Json::Object(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `conclave seed schema > docs/seed.schema.json` makes it so.
    #[test]
    fn the_schema_in_the_documentation_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/seed.schema.json");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == text(), "docs/seed.schema.json is out of date: conclave seed schema");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let schema = schema();
        let text = schema.to_string();
        for reference in text.split("\"#/$defs/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default();
            assert!(schema["$defs"].get(name).is_some(), "{name}");
        }
        assert_eq!(schema["properties"]["UserPools"]["items"]["required"], json!(["PoolName"]));
    }
}
