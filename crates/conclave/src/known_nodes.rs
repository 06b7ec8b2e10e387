//! The nodes that a process has last known, kept in its data directory: those that its configuration names may all have
//! been replaced when it starts again.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

const FILE: &str = "NODES";
/// Addresses that are kept.
const MAX: usize = 64;
/// Longer than any address, a name of 253 bytes and a port.
const ADDRESS_LEN_MAX: usize = 300;

/// What [`save`] has written; nothing where there is no such file. These are hints: whoever answers has to show a
/// certificate of the cluster.
pub fn load(dir: &Path) -> Vec<String> {
    let text = match fs::read_to_string(dir.join(FILE)) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, "the nodes that were last known cannot be read");
            }
            return Vec::new();
        }
    };
    text.lines().filter(|line| is_address(line)).take(MAX).map(str::to_owned).collect()
}

/// Keeps these internal addresses, one a line.
///
/// # Errors
/// From the disk; the former file is then as it was.
pub fn save(dir: &Path, addresses: &[String]) -> io::Result<()> {
    let text: String = addresses.iter().take(MAX).map(|address| format!("{address}\n")).collect();
    let temporary = dir.join(format!("{FILE}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(FILE))
}

fn is_address(line: &str) -> bool {
    let port = line.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    line.len() <= ADDRESS_LEN_MAX && matches!(port, Some(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_is_known_again_and_what_is_no_address_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).is_empty());
        let nodes = ["10.0.0.4:9230".to_owned(), "node-5.nodes.example:9230".to_owned()];
        save(dir.path(), &nodes).unwrap();
        assert_eq!(load(dir.path()), nodes);
        fs::write(dir.path().join(FILE), "10.0.0.4:9230\n10.0.0.5\n:x\n\u{0}\nb:1\n").unwrap();
        assert_eq!(load(dir.path()), ["10.0.0.4:9230", "b:1"]);
        let many: Vec<String> = (1..100).map(|port| format!("a:{port}")).collect();
        save(dir.path(), &many).unwrap();
        assert_eq!(load(dir.path()), many[..MAX]);
    }
}
