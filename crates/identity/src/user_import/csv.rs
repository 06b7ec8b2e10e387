//! The form of a file of users: a header with the names of columns, a row for each user, commas between
//! values, a backslash before a comma that belongs to a value; no quotation marks.
//! Source: developer guide, "Formatting the CSV file".

use conclave_store::records::PoolRecord;

use crate::pools::schema;

/// Whether the user has a second factor.
pub const MFA_ENABLED: &str = "cognito:mfa_enabled";
/// What the user is called.
pub const USERNAME: &str = "cognito:username";
/// A hash by the job's PasswordHashingAlgorithm.
pub const PASSWORD_HASH: &str = "password_hash";
/// A hash of any kind that is known, beyond Cognito.
pub const ANY_PASSWORD_HASH: &str = "conclave:password_hash";

/// Characters of a row, at most.
pub const ROW_CHARS_MAX: usize = 16_000;

/// The columns that GetCSVHeader answers: the pool's attributes, and what is no attribute.
pub fn header_of(pool: &PoolRecord) -> Vec<String> {
    let attributes = pool.schema.iter().map(|attribute| attribute.name.as_str());
    let attributes = attributes.filter(|name| is_importable(name)).map(str::to_owned);
    attributes.chain([MFA_ENABLED, USERNAME].map(str::to_owned)).collect()
}

/// `sub` is given by the service, links to providers by the operations that make them, and what is for
/// developers only is not imported.
fn is_importable(name: &str) -> bool {
    name != "sub" && name != "identities" && !name.starts_with("dev:")
}

/// Reads the first line of a file.
///
/// # Errors
/// What is wrong with it, as the job's completion message.
pub(super) fn columns(
    pool: &PoolRecord,
    line: &str,
    has_algorithm: bool,
) -> Result<Vec<String>, String> {
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    let columns: Vec<String> = values(line).iter().map(|name| name.trim().to_owned()).collect();
    for (position, name) in columns.iter().enumerate() {
        let is_known = match name.as_str() {
            MFA_ENABLED | USERNAME | PASSWORD_HASH | ANY_PASSWORD_HASH => true,
            name => is_importable(name) && schema::find(pool, name).is_some(),
        };
        if !is_known {
            return Err(format!("Column {} of the CSV header is not known.", position + 1));
        }
        if columns.iter().take(position).any(|other| other == name) {
            return Err(format!("Column {} of the CSV header occurs twice.", position + 1));
        }
    }
    let has = |name: &str| columns.iter().any(|column| column == name);
    if !has(USERNAME) {
        return Err(format!("The CSV header has no column {USERNAME}."));
    }
    // source: developer guide, "Adding password hashes to your CSV file"
    if has_algorithm && !has(PASSWORD_HASH) {
        return Err(format!("The CSV header has no column {PASSWORD_HASH}."));
    }
    Ok(columns)
}

/// The values of a line.
pub(super) fn values(line: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut value = String::new();
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&',') => {
                characters.next();
                value.push(',');
            }
            ',' => values.push(std::mem::take(&mut value)),
            other => value.push(other),
        }
    }
    values.push(value);
    values
}

/// Follows a file as it comes in: whether it is UTF-8, how many rows it has, and whether one is too long.
#[derive(Debug, Default)]
pub struct Watch {
    /// Lines that have ended.
    lines: u64,
    /// Lines with something in them, the present one not counted.
    filled: u64,
    is_filled: bool,
    characters: usize,
    /// The beginning of a character that goes on in the next part.
    open: Vec<u8>,
}

/// Why a file is refused. Lines are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFile {
    /// Not UTF-8.
    #[error("The file is not UTF-8: line {0}.")]
    NotUtf8(u64),
    /// A row is longer than [`ROW_CHARS_MAX`].
    #[error("A row has more than 16000 characters: line {0}.")]
    LongRow(u64),
    /// More rows than a job takes.
    #[error("The file has more than 500000 rows.")]
    TooManyRows,
    /// Nothing but blanks.
    #[error("The file is empty.")]
    Empty,
}

impl Watch {
    /// Rows of a file, without the header, at most.
    pub const ROWS_MAX: u64 = 500_000;

    /// Looks at the next part.
    ///
    /// # Errors
    /// [`BadFile`]
    pub fn part(&mut self, bytes: &[u8]) -> Result<(), BadFile> {
        let mut bytes = bytes;
        while !self.open.is_empty() {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            self.open.push(*first);
            bytes = rest;
            let open = std::mem::take(&mut self.open);
            self.text(&open)?;
        }
        self.text(bytes)
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), BadFile> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.characters(text),
            Err(error) => {
                let (good, rest) = bytes.split_at(error.valid_up_to());
                self.characters(std::str::from_utf8(good).unwrap_or_default())?;
                if error.error_len().is_some() {
                    return Err(BadFile::NotUtf8(self.lines + 1));
                }
                self.open = rest.to_vec();
                Ok(())
            }
        }
    }

    fn characters(&mut self, text: &str) -> Result<(), BadFile> {
        for character in text.chars() {
            if character == '\n' {
                self.lines += 1;
                self.filled += u64::from(self.is_filled);
                (self.is_filled, self.characters) = (false, 0);
                if self.filled > Self::ROWS_MAX + 1 {
                    return Err(BadFile::TooManyRows);
                }
                continue;
            }
            self.characters += 1;
            self.is_filled |= !character.is_whitespace();
            if self.characters > ROW_CHARS_MAX {
                return Err(BadFile::LongRow(self.lines + 1));
            }
        }
        Ok(())
    }

    /// The file has ended. Answers how many rows it has, without the header.
    ///
    /// # Errors
    /// [`BadFile`]
    pub fn end(self) -> Result<u64, BadFile> {
        if !self.open.is_empty() {
            return Err(BadFile::NotUtf8(self.lines + 1));
        }
        let filled = self.filled + u64::from(self.is_filled);
        match filled.checked_sub(1) {
            None => Err(BadFile::Empty),
            Some(rows) if rows > Self::ROWS_MAX => Err(BadFile::TooManyRows),
            Some(rows) => Ok(rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(parts: &[&[u8]]) -> Result<u64, BadFile> {
        let mut watch = Watch::default();
        parts.iter().try_for_each(|part| watch.part(part))?;
        watch.end()
    }

    #[test]
    fn a_backslash_keeps_a_comma_in_its_value_and_nothing_else() {
        assert_eq!(values("a,b\\,c,,d"), ["a", "b,c", "", "d"]);
        assert_eq!(values("\"a\",b\\n\\"), ["\"a\"", "b\\n\\"]);
        assert_eq!(values(""), [""]);
    }

    #[test]
    fn rows_are_counted_over_any_cuts_of_the_file() {
        let file = "h\nä,b\r\n\n  \r\n…,d".as_bytes();
        for cut in 0..file.len() {
            let (first, second) = file.split_at(cut);
            assert_eq!(watched(&[first, second]), Ok(2), "{cut}");
        }
        let single: Vec<&[u8]> = file.chunks(1).collect();
        assert_eq!(watched(&single), Ok(2));
        assert_eq!(watched(&[b"h\n"]), Ok(0));
    }

    #[test]
    fn what_is_no_file_of_users_is_refused() {
        assert_eq!(watched(&[]), Err(BadFile::Empty));
        assert_eq!(watched(&[b" \n\r\n"]), Err(BadFile::Empty));
        assert_eq!(watched(&[b"h\n\xff"]), Err(BadFile::NotUtf8(2)));
        assert_eq!(watched(&[b"h\n\xc3"]), Err(BadFile::NotUtf8(2)));
        assert_eq!(watched(&[b"h\n\xe2\x80", b"a"]), Err(BadFile::NotUtf8(2)));
        let long = "ä".repeat(ROW_CHARS_MAX);
        assert_eq!(watched(&[b"h\n", long.as_bytes()]), Ok(1));
        assert_eq!(watched(&[b"h\n", long.as_bytes(), b"x"]), Err(BadFile::LongRow(2)));
        let many = "r\n".repeat(500_001);
        assert_eq!(watched(&[many.as_bytes()]), Ok(Watch::ROWS_MAX));
        assert_eq!(watched(&[many.as_bytes(), b"x"]), Err(BadFile::TooManyRows));
        assert_eq!(watched(&[many.as_bytes(), b"x\n", b"\n"]), Err(BadFile::TooManyRows));
    }
}
