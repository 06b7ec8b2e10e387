//! What commands print. Logs go to standard error, answers to standard output.

use std::io::{self, Write};

/// Prints a text and flushes it: whoever waits for it may sit behind a pipe.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
