//! JSON with the line of each value. Only what a seed has: no null, no fractions, no member twice.

use super::{
    SeedError,
    node::{Entry, Node, Value},
};

const DEPTH_MAX: usize = 32;

/// Reads a document.
///
/// # Errors
/// The first thing that is not JSON, or not what a seed has.
pub fn parse(text: &str) -> Result<Node, SeedError> {
    let mut reader = Reader { text, at: 0, line: 1 };
    let node = reader.value(0)?;
    reader.skip();
    match reader.peek() {
        None => Ok(node),
        Some(_) => Err(reader.error("nothing may follow the document")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn error(&self, text: &str) -> SeedError {
        SeedError::at(self.line, text)
    }

    fn skip(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.line += usize::from(byte == b'\n');
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> bool {
        self.skip();
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    fn value(&mut self, depth: usize) -> Result<Node, SeedError> {
        if depth > DEPTH_MAX {
            return Err(self.error("nested too deeply"));
        }
        self.skip();
        let line = self.line;
        let value = match self.peek() {
            Some(b'{') => self.table(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ if self.word("true") => Value::Bool(true),
            _ if self.word("false") => Value::Bool(false),
            _ if self.word("null") => {
                return Err(self.error("null declares nothing: leave the member out"));
            }
            _ => return Err(self.error("expected a JSON value")),
        };
        Ok(Node { line, value })
    }

    fn word(&mut self, word: &str) -> bool {
        let is_there = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        if is_there {
            self.at += word.len();
        }
        is_there
    }

    fn table(&mut self, depth: usize) -> Result<Value, SeedError> {
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        if self.take(b'}') {
            return Ok(Value::Table(entries));
        }
        loop {
            self.skip();
            let line = self.line;
            if self.peek() != Some(b'"') {
                return Err(self.error("expected the name of a member"));
            }
            let name = self.string()?;
            if entries.iter().any(|entry| entry.name == name) {
                return Err(SeedError::at(line, format!("{name} is there twice")));
            }
            if !self.take(b':') {
                return Err(self.error("expected a colon"));
            }
            let node = self.value(depth + 1)?;
            entries.push(Entry { name, line, node });
            if self.take(b'}') {
                return Ok(Value::Table(entries));
            }
            if !self.take(b',') {
                return Err(self.error("expected a comma or }"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, SeedError> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            if !self.take(b',') {
                return Err(self.error("expected a comma or ]"));
            }
        }
    }

    /// The escapes are `serde_json`'s business: here only the end is looked for.
    fn string(&mut self) -> Result<String, SeedError> {
        let start = self.at;
        self.at += 1;
        let end = loop {
            match self.peek() {
                None | Some(b'\n') => return Err(self.error("a text does not end")),
                Some(b'\\') => self.at += 2,
                Some(b'"') => {
                    self.at += 1;
                    break self.at;
                }
                Some(_) => self.at += 1,
            }
        };
        let text = self.text.get(start..end).unwrap_or_default();
        serde_json::from_str(text).map_err(|_| self.error("a text is not good JSON"))
    }

    fn number(&mut self) -> Result<Value, SeedError> {
        let start = self.at;
        while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        match serde_json::from_str::<i64>(text) {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) => Err(self.error("expected a whole number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        let text = "{\n \"a\": [1,\n  true],\n \"b\": {\"c\": \"x\\n\\u00e9\"}\n}\n";
        let Ok(node) = parse(text) else { panic!("parses") };
        let expected = serde_json::json!({"a": [1, true], "b": {"c": "x\né"}});
        assert_eq!(node.to_json(), expected);
        let lines = ["a", "b"].map(|name| node.line_of(name));
        assert_eq!(lines, [2, 4]);
        assert_eq!(node.list("a")[1].line, 3);
    }

    #[test]
    fn what_is_not_good_is_named_with_its_line() {
        let deep = "[".repeat(100);
        for (text, line, error) in [
            ("", 1, "expected a JSON value"),
            ("{\n\"a\" 1}", 2, "expected a colon"),
            ("{\"a\": 1,\n\"a\": 2}", 2, "a is there twice"),
            ("{\"a\": null}", 1, "null declares nothing: leave the member out"),
            ("[1.5]", 1, "expected a whole number"),
            ("[99999999999999999999]", 1, "expected a whole number"),
            ("[1\n2]", 2, "expected a comma or ]"),
            ("{\"a\": 1\n\n\"b\"}", 3, "expected a comma or }"),
            ("{a: 1}", 1, "expected the name of a member"),
            ("[\"a\n\"]", 1, "a text does not end"),
            ("[\"\\x\"]", 1, "a text is not good JSON"),
            ("{}\n{}", 2, "nothing may follow the document"),
            ("\"\\", 1, "a text does not end"),
            (&deep, 1, "nested too deeply"),
        ] {
            assert_eq!(parse(text).err(), Some(SeedError::at(line, error)), "{text}");
        }
    }
}
