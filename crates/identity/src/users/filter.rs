//! The filter of ListUsers: one condition on one attribute.
//! Source: developer guide, "Searching for users using the ListUsers API".

use conclave_api::ApiError;
use conclave_store::{
    keys::{self, IndexedAttribute},
    records::UserRecord,
};

use super::{attributes, index};
use crate::errors;

/// A condition, such as `email ^= "ada"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// On what.
    pub subject: Subject,
    /// `^=` rather than `=`.
    pub prefix: bool,
    /// The value, without quotes.
    pub value: String,
}

/// What a filter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// `sub`
    Sub,
    /// `username`
    Username,
    /// An attribute or state that has an index.
    Indexed(IndexedAttribute),
}

const SUBJECTS: [(&str, Subject); 10] = [
    ("sub", Subject::Sub),
    ("username", Subject::Username),
    ("email", Subject::Indexed(IndexedAttribute::Email)),
    ("phone_number", Subject::Indexed(IndexedAttribute::PhoneNumber)),
    ("name", Subject::Indexed(IndexedAttribute::Name)),
    ("given_name", Subject::Indexed(IndexedAttribute::GivenName)),
    ("family_name", Subject::Indexed(IndexedAttribute::FamilyName)),
    ("preferred_username", Subject::Indexed(IndexedAttribute::PreferredUsername)),
    ("cognito:user_status", Subject::Indexed(IndexedAttribute::UserStatus)),
    ("status", Subject::Indexed(IndexedAttribute::Status)),
];

impl Filter {
    /// Reads a filter; an empty one is none.
    ///
    /// # Errors
    /// InvalidParameterException.
    pub fn parse(text: &str) -> Result<Option<Self>, ApiError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let malformed = || errors::invalid_parameter("Error while parsing filter.");
        let (name, rest) = if text.starts_with('"') {
            quoted(text).ok_or_else(malformed)?
        } else {
            let end = text.find(['^', '=']).ok_or_else(malformed)?;
            let (name, rest) = text.split_at(end);
            (name.trim_end().to_owned(), rest)
        };
        let rest = rest.trim_start();
        let (prefix, rest) = match rest.strip_prefix("^=") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix('=').ok_or_else(malformed)?),
        };
        let (value, rest) = quoted(rest.trim_start()).ok_or_else(malformed)?;
        if name.is_empty() || name.contains(char::is_whitespace) || !rest.trim().is_empty() {
            return Err(malformed());
        }
        let subject =
            SUBJECTS.iter().find(|(known, _)| *known == name).map(|(_, subject)| *subject);
        let subject = subject.ok_or_else(|| {
            errors::invalid_parameter(format!("Invalid search attribute: {name}"))
        })?;
        Ok(Some(Self { subject, prefix, value }))
    }

    /// Whether the filter finds `user`. Case does not matter, but for `username`, `sub` and `status`.
    pub fn matches(&self, user: &UserRecord) -> bool {
        let found = match self.subject {
            Subject::Sub => Some(user.sub.as_str()),
            Subject::Username => Some(user.username.as_str()),
            Subject::Indexed(IndexedAttribute::UserStatus) => Some(user.status.as_str()),
            Subject::Indexed(IndexedAttribute::Status) => Some(index::status_text(user.enabled)),
            Subject::Indexed(indexed) => SUBJECTS
                .iter()
                .find(|(_, subject)| *subject == Subject::Indexed(indexed))
                .and_then(|(name, _)| attributes::value(user, name)),
        };
        let Some(found) = found else { return false };
        let (found, value) = (self.compared(found), self.compared(&self.value));
        if self.prefix { found.starts_with(&value) } else { found == value }
    }

    /// The rows that lead to the users that the filter may find.
    pub fn scanned(&self) -> Vec<u8> {
        let value = self.compared(&self.value);
        match self.subject {
            Subject::Sub => keys::user(&value),
            Subject::Username => keys::username(&value),
            Subject::Indexed(indexed) if self.prefix => {
                keys::user_attribute_starting(indexed, &value)
            }
            Subject::Indexed(indexed) => keys::user_attribute_equal(indexed, &value),
        }
    }

    /// Whether one row at most can lead to what the filter finds; it is then the first that is scanned.
    pub fn is_exact(&self) -> bool {
        !self.prefix && matches!(self.subject, Subject::Sub | Subject::Username)
    }

    fn compared(&self, value: &str) -> String {
        match self.subject {
            Subject::Indexed(indexed) => index::listed_value(indexed, value),
            Subject::Sub | Subject::Username => value.to_owned(),
        }
    }
}

/// The content of the quotes that `text` begins with, and what follows them. A backslash takes the next
/// character as it is.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?.chars();
    let mut content = String::new();
    loop {
        match rest.next()? {
            '"' => return Some((content, rest.as_str())),
            '\\' => content.push(rest.next()?),
            other => content.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Subject, bool, String) {
        let filter = Filter::parse(text).unwrap().unwrap();
        (filter.subject, filter.prefix, filter.value)
    }

    fn refusal(text: &str) -> String {
        Filter::parse(text).unwrap_err().message.into_owned()
    }

    #[test]
    fn conditions_are_read_in_every_notation() {
        let email = Subject::Indexed(IndexedAttribute::Email);
        for text in ["email = \"a@b.co\"", "email=\"a@b.co\"", " \"email\"  =  \"a@b.co\" "] {
            assert_eq!(parsed(text), (email, false, "a@b.co".to_owned()), "{text}");
        }
        assert_eq!(parsed("email ^= \"a\""), (email, true, "a".to_owned()));
        assert_eq!(
            parsed("cognito:user_status=\"CONFIRMED\"").0,
            Subject::Indexed(IndexedAttribute::UserStatus)
        );
        assert_eq!(parsed(r#"family_name = "O\"Brien \\ co""#).2, r#"O"Brien \ co"#);
        assert_eq!(Filter::parse("  "), Ok(None));
    }

    #[test]
    fn what_is_not_one_condition_is_refused() {
        for text in [
            "email",
            "email = ",
            "email = a",
            "email = \"a",
            "email == \"a\"",
            "email > \"a\"",
            "= \"a\"",
            "email = \"a\" and name = \"b\"",
            "email = \"a\" x",
            "\"email = \"a\"",
            "e mail = \"a\"",
            "email ^ = \"a\"",
            "email = \"a\\\"",
        ] {
            assert_eq!(refusal(text), "Error while parsing filter.", "{text}");
        }
        assert_eq!(refusal("custom:foo = \"a\""), "Invalid search attribute: custom:foo");
    }
}
