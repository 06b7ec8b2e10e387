//! A value of a seed file, with the line where it stands. It has no `Debug`: a seed holds secrets.

use serde_json::{Map, Value as Json};

/// See the module.
pub struct Node {
    /// From 1.
    pub line: usize,
    pub value: Value,
}

pub enum Value {
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A member of a table.
pub struct Entry {
    pub name: String,
    /// Of the name.
    pub line: usize,
    pub node: Node,
}

impl Node {
    /// The member of a table.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// The members, when it is a table.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The elements, when it is a list.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The tables of a list that is a member of this table.
    pub fn list(&self, name: &str) -> &[Node] {
        self.get(name).map_or(&[], |entry| entry.node.items())
    }

    /// The text of a member of this table.
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The line of a member, or that of the table when there is no such member.
    pub fn line_of(&self, name: &str) -> usize {
        self.get(name).map_or(self.line, |entry| entry.line)
    }

    /// As the API's JSON has it.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Bool(value) => Json::from(*value),
            Value::Int(value) => Json::from(*value),
            Value::Text(value) => Json::from(value.as_str()),
            Value::List(items) => Json::from_iter(items.iter().map(Self::to_json)),
            Value::Table(entries) => {
                let members = entries.iter().map(|e| (e.name.clone(), e.node.to_json()));
                Json::Object(Map::from_iter(members))
            }
        }
    }

    /// What kind of value it is, for people.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Bool(_) => "true or false",
            Value::Int(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}
