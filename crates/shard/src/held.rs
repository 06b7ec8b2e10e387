//! Which groups a node holds.
//!
//! A group that is not held is not opened at the next start. Of one that was held once, two things
//! stay for good: its vote, in the log database, and here the end of the log that was deleted. A
//! replica has promised both to others, and they may still count on it: somebody who has missed that
//! this node has left the group can ask it for a vote. With an empty log and no memory it would vote
//! for a candidate that lacks what the deleted log has acknowledged, and the two of them may be a
//! quorum of the old members.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::RwLock;
use prost::Message;

use crate::{
    proto::{self, held_group::State},
    state_db::{read_small_file, write_file_atomically},
    types::{LogId, corrupt, log_id_in, log_id_out},
};

const FILE: &str = "GROUPS";

/// One group that is, or was, held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldGroup {
    pub state: State,
    /// The membership of the group when it was opened here; `None` where the cluster was made with it.
    pub opened_with: Option<LogId>,
    /// The end of the longest log of the group that was deleted here.
    pub vote_floor: Option<LogId>,
}

/// The groups of a data directory. Every change is on disk when it returns.
pub(crate) struct Held {
    dir: PathBuf,
    groups: RwLock<BTreeMap<u32, HeldGroup>>,
}

impl Held {
    /// Reads which groups the directory holds. One in which that has never been said holds those whose
    /// files it has, or else `first`.
    ///
    /// # Errors
    /// From the disk.
    pub(crate) fn open(dir: &Path, first: &[u32]) -> io::Result<Self> {
        match read_small_file(&dir.join(FILE)) {
            Ok(bytes) => {
                let stored = proto::HeldGroups::decode(&bytes[..]).map_err(corrupt)?;
                let groups = stored.groups.into_iter().map(|group| {
                    let state = group.state();
                    let opened_with = log_id_in(group.opened_with);
                    let vote_floor = log_id_in(group.vote_floor);
                    (group.group, HeldGroup { state, opened_with, vote_floor })
                });
                return Ok(Self { dir: dir.to_owned(), groups: RwLock::new(groups.collect()) });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let number: Option<u32> =
                name.to_str().and_then(|name| name.strip_prefix("group-")?.parse().ok());
            found.extend(number);
        }
        let first = if found.is_empty() { first.to_vec() } else { found };
        let open = HeldGroup { state: State::Open, opened_with: None, vote_floor: None };
        let groups = first.into_iter().map(|group| (group, open)).collect();
        let held = Self { dir: dir.to_owned(), groups: RwLock::new(groups) };
        held.write(&held.groups.read())?;
        Ok(held)
    }

    pub(crate) fn get(&self, group: u32) -> Option<HeldGroup> {
        self.groups.read().get(&group).copied()
    }

    pub(crate) fn all(&self) -> Vec<(u32, HeldGroup)> {
        self.groups.read().iter().map(|(number, group)| (*number, *group)).collect()
    }

    /// # Errors
    /// From the disk; nothing has changed then.
    pub(crate) fn set(&self, group: u32, held: HeldGroup) -> io::Result<()> {
        let mut groups = self.groups.write();
        let mut next = groups.clone();
        next.insert(group, held);
        self.write(&next)?;
        *groups = next;
        Ok(())
    }

    fn write(&self, groups: &BTreeMap<u32, HeldGroup>) -> io::Result<()> {
        let groups = groups
            .iter()
            .map(|(&group, held)| proto::HeldGroup {
                group,
                state: held.state.into(),
                opened_with: log_id_out(held.opened_with.as_ref()),
                vote_floor: log_id_out(held.vote_floor.as_ref()),
            })
            .collect();
        write_file_atomically(&self.dir, FILE, &proto::HeldGroups { groups }.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    #[test]
    fn what_is_held_is_known_after_a_restart_and_a_new_directory_holds_what_it_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = Held::open(dir.path(), &[0, 2]).expect("opens");
        let numbers = |held: &Held| held.all().iter().map(|(n, _)| *n).collect::<Vec<_>>();
        assert_eq!(numbers(&held), [0, 2]);
        let closed = HeldGroup {
            state: State::Closed,
            opened_with: Some(log_id(1, 1, 3)),
            vote_floor: Some(log_id(2, 1, 9)),
        };
        held.set(2, closed).expect("writes");
        let held = Held::open(dir.path(), &[0, 1, 2, 3]).expect("opens");
        assert_eq!(numbers(&held), [0, 2]);
        assert_eq!(held.get(2), Some(closed));
    }

    #[test]
    fn a_directory_from_before_holds_the_groups_whose_files_it_has() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["group-0", "group-7", "log"] {
            fs::create_dir(dir.path().join(name)).expect("makes");
        }
        let held = Held::open(dir.path(), &[1]).expect("opens");
        assert_eq!(held.all().iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 7]);
    }
}
