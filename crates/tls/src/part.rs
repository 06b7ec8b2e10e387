//! A value that files hold, and that is read again when they have changed.

use std::{
    fs,
    io::{self, Read as _},
    path::PathBuf,
    sync::Arc,
};

use zeroize::Zeroizing;

use crate::TlsError;

/// Bytes of one file: a chain or bundle has some kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

type Contents = Vec<Zeroizing<Vec<u8>>>;
type Parse<T> = fn(&[Zeroizing<Vec<u8>>]) -> Result<T, TlsError>;

/// Compared by content, not by time stamps: files are replaced by links and copies that keep old ones.
pub(crate) struct Part<T> {
    paths: Vec<PathBuf>,
    seen: Contents,
    parse: Parse<T>,
    value: Arc<T>,
    /// What was wrong at the last look, so that it is reported once.
    wrong: Option<TlsError>,
}

/// What a look at the files has come to.
pub(crate) enum Look {
    Same,
    Changed,
    Wrong(TlsError),
}

impl<T> Part<T> {
    pub(crate) fn open(paths: Vec<PathBuf>, parse: Parse<T>) -> Result<Self, TlsError> {
        let seen = read_all(&paths)?;
        let value = Arc::new(parse(&seen)?);
        Ok(Self { paths, seen, parse, value, wrong: None })
    }

    pub(crate) fn value(&self) -> Arc<T> {
        self.value.clone()
    }

    /// Reads the files, and takes over what is new when it can be used and `accept` agrees (old, new).
    pub(crate) fn look(&mut self, accept: impl Fn(&T, &T) -> Result<(), TlsError>) -> Look {
        let contents = match read_all(&self.paths) {
            Ok(contents) if contents == self.seen => {
                self.wrong = None;
                return Look::Same;
            }
            Ok(contents) => contents,
            Err(error) => return self.report(error),
        };
        let new = (self.parse)(&contents).and_then(|new| accept(&self.value, &new).map(|()| new));
        match new {
            Ok(new) => {
                self.seen = contents;
                self.value = Arc::new(new);
                self.wrong = None;
                Look::Changed
            }
            Err(error) => self.report(error),
        }
    }

    fn report(&mut self, error: TlsError) -> Look {
        if self.wrong.as_ref() == Some(&error) {
            return Look::Same;
        }
        self.wrong = Some(error.clone());
        Look::Wrong(error)
    }
}

fn read_all(paths: &[PathBuf]) -> Result<Contents, TlsError> {
    let read = |path: &PathBuf| {
        let mut bytes = Zeroizing::new(Vec::new());
        let read = fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .and_then(|length| match u64::try_from(length) {
                Ok(length) if length <= FILE_BYTES_MAX => Ok(()),
                _ => Err(io::Error::other("larger than 1 MiB")),
            });
        match read {
            Ok(()) => Ok(bytes),
            Err(error) => {
                Err(TlsError::File { path: path.display().to_string(), why: error.to_string() })
            }
        }
    };
    paths.iter().map(read).collect()
}
