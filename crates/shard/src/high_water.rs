//! The high-water file: what of every group's log and vote is known to be on disk.
//!
//! RocksDB's point-in-time recovery ends silently at the first record that it cannot read. That is
//! right for a tail that was never synced (a torn write after a power cut), and fatal for one that
//! was: an acknowledged entry or a vote would be gone, and nobody would know. So what has been
//! synced is noted here, in a file of its own, and an opened log that holds less is refused.
//!
//! The file is written after every sync of the log, but itself synced only from time to time (and
//! always for votes, and before a truncation): a note that lags behind finds less, never a false
//! alarm. What stays undetected: entries of the last [`SYNC_INTERVAL`] before a power cut whose
//! synced bytes the disk has lost as well.
//!
//! Two slots are written in turn, so that a torn write leaves the other one.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use prost::Message;

use crate::{
    proto,
    types::{LogId, Vote, corrupt, log_id_in, log_id_out},
};

/// How long a note may wait for its own sync.
pub(crate) const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of one slot; more than [`GROUPS_MAX`] groups fit.
const SLOT_BYTES: usize = 64 << 10;
/// Groups that a node can hold.
pub(crate) const GROUPS_MAX: u32 = 512;
/// Length and checksum, before the message.
const FRAME_BYTES: usize = 8;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub last_log_id: Option<LogId>,
    pub vote: Option<Vote>,
}

pub(crate) struct HighWater {
    file: File,
    generation: u64,
    marks: BTreeMap<u32, Mark>,
    /// Written, but not synced yet.
    dirty: bool,
}

impl HighWater {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// From the disk; or that the file exists and neither slot can be read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let new = file.metadata()?.len() == 0;
        if new {
            file.set_len(2 * SLOT_BYTES as u64)?;
            file.sync_all()?;
            if let Some(parent) = path.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        let all_zero = slots.iter().all(|slot| matches!(slot, Slot::Empty));
        let newest = slots
            .into_iter()
            .filter_map(|slot| match slot {
                Slot::Valid(message) => Some(message),
                Slot::Empty | Slot::Torn => None,
            })
            .max_by_key(|message| message.generation);
        let message = match newest {
            Some(message) => message,
            None if all_zero => proto::HighWater::default(),
            None => return Err(corrupt("no slot of the high-water file can be read")),
        };
        let marks = message
            .groups
            .into_iter()
            .map(|group| {
                let vote = group.vote.map(Into::into);
                (group.group, Mark { last_log_id: log_id_in(group.last_log_id), vote })
            })
            .collect();
        Ok(Self { file, generation: message.generation, marks, dirty: false })
    }

    pub(crate) fn marks(&self) -> &BTreeMap<u32, Mark> {
        &self.marks
    }

    pub(crate) fn set_last_log_id(&mut self, group: u32, last_log_id: Option<LogId>) {
        self.marks.entry(group).or_default().last_log_id = last_log_id;
    }

    pub(crate) fn set_vote(&mut self, group: u32, vote: Vote) {
        self.marks.entry(group).or_default().vote = Some(vote);
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Writes the marks, without a sync.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        self.generation += 1;
        let message = proto::HighWater {
            generation: self.generation,
            groups: self
                .marks
                .iter()
                .map(|(&group, mark)| proto::GroupHighWater {
                    group,
                    last_log_id: log_id_out(mark.last_log_id.as_ref()),
                    vote: mark.vote.as_ref().map(Into::into),
                })
                .collect(),
        };
        let body = message.encode_to_vec();
        if body.len() + FRAME_BYTES > SLOT_BYTES {
            return Err(io::Error::other("too many groups for the high-water file"));
        }
        let mut slot = Vec::with_capacity(FRAME_BYTES + body.len());
        slot.extend_from_slice(&u32::try_from(body.len()).map_err(io::Error::other)?.to_be_bytes());
        slot.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        slot.extend_from_slice(&body);
        let offset = (self.generation % 2) * SLOT_BYTES as u64;
        self.file.write_all_at(&slot, offset)?;
        self.dirty = true;
        Ok(())
    }

    /// Syncs what has been written.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.dirty = false;
        Ok(())
    }
}

enum Slot {
    Empty,
    Torn,
    Valid(proto::HighWater),
}

fn read_slot(file: &File, slot: u64) -> io::Result<Slot> {
    let mut bytes = vec![0; SLOT_BYTES];
    let offset = slot * SLOT_BYTES as u64;
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Slot::Torn),
        Err(error) => return Err(error),
    }
    let Some((frame, rest)) = bytes.split_first_chunk::<FRAME_BYTES>() else {
        return Ok(Slot::Torn);
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *frame;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let crc = u32::from_be_bytes([c0, c1, c2, c3]);
    if length == 0 && crc == 0 {
        return Ok(Slot::Empty);
    }
    match rest.get(..length) {
        Some(body) if crc32fast::hash(body) == crc => {
            Ok(proto::HighWater::decode(body).map_or(Slot::Torn, Slot::Valid))
        }
        _ => Ok(Slot::Torn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    #[test]
    fn marks_read_back_and_a_torn_slot_leaves_the_other_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("high-water");
        let mut high_water = HighWater::open(&path).expect("opens");
        for index in 1..=2 {
            high_water.set_last_log_id(3, Some(log_id(1, 1, index)));
            high_water.write().expect("writes");
        }
        let read = |path: &Path| HighWater::open(path).expect("opens").marks()[&3].last_log_id;
        assert_eq!(read(&path), Some(log_id(1, 1, 2)));

        // generation 2 is in slot 0
        high_water.file.write_all_at(&[0xff; 64], 4).expect("writes");
        assert_eq!(read(&path), Some(log_id(1, 1, 1)));

        high_water.file.write_all_at(&[0xff; 64], SLOT_BYTES as u64 + 4).expect("writes");
        assert!(HighWater::open(&path).is_err(), "no slot can be read");
    }
}
