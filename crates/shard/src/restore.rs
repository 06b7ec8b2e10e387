//! The data directory of a node that begins with rows from a backup.
//!
//! It is built under `restoring` in the data directory, and moved to its place at the end; the identity comes last.
//! Without an identity a node does not start on a directory that holds `restoring` or groups, so what a crash leaves
//! never serves: the restore is begun again. The groups have one voter, this node; others join it with empty
//! directories and are brought up as always. So there is one state, and no two nodes that could have restored
//! something else.

use std::{
    fs::{self, DirBuilder},
    io,
    ops::ControlFlow,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use conclave_store::{Batch as _, Kv, levels};
use openraft::{BasicNode, Membership};

use crate::{
    held::{Held, HeldGroup},
    identity,
    proto::held_group::State,
    state_db::{SharedMemory, StateBatch, StateDb, sync_dir},
    types::{LeaderId, LogId, StoredMembers},
};

/// What a restore that is under way is built in.
pub(crate) const RESTORING: &str = "restoring";
/// Rows of one write.
const BATCH_BYTES: usize = 1 << 20;

/// Whose data it becomes.
#[derive(Debug, Clone)]
pub struct NewData {
    /// Where; what it holds is refused, unless it is of a restore that was not finished.
    pub data_dir: PathBuf,
    /// The new cluster.
    pub cluster_id: String,
    /// Its first node.
    pub node_id: u64,
    /// Where others reach its internal port: `host:port`.
    pub address: String,
    /// Groups of the cluster, the directory among them.
    pub groups: u32,
    /// Fresh random bytes.
    pub incarnation: [u8; 16],
}

/// A data directory in the making. Dropped before [`DataBuilder::finish`], it leaves a directory that no node starts on.
pub struct DataBuilder {
    new: NewData,
    building: PathBuf,
    memory: SharedMemory,
    groups: Vec<u32>,
}

/// What of the log the restored state counts as: the entry that makes a group, as for one that is made anew.
fn first_log_id() -> LogId {
    LogId::new(LeaderId { term: 0, node_id: 0 }, 0)
}

/// Something in a data directory that neither the file system nor a restore that was not finished has left there.
fn held(data_dir: &Path) -> io::Result<Option<String>> {
    let unfinished = data_dir.join(RESTORING).exists();
    for entry in fs::read_dir(data_dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let of_restore = name == RESTORING
            || unfinished && (name.starts_with("group-") || name.starts_with("GROUPS"));
        if !of_restore && name != "lost+found" {
            return Ok(Some(name.into_owned()));
        }
    }
    Ok(None)
}

/// Whether a data directory is one that [`DataBuilder::begin`] refuses: a node has data there, or something else has.
///
/// # Errors
/// From the disk.
pub fn holds_data(data_dir: &Path) -> io::Result<bool> {
    Ok(data_dir.exists() && held(data_dir)?.is_some())
}

impl DataBuilder {
    /// Begins, and removes what an earlier restore has left.
    ///
    /// # Errors
    /// From the disk; or that the directory holds data, which is named.
    pub fn begin(new: NewData) -> io::Result<Self> {
        const CACHE_BYTES: usize = 64 << 20;
        const WRITE_BUFFER_BYTES: usize = 32 << 20;
        DirBuilder::new().recursive(true).mode(0o700).create(&new.data_dir)?;
        if let Some(name) = held(&new.data_dir)? {
            return Err(io::Error::other(format!(
                "{} is not empty: it holds {name}; a restore begins with an empty data directory",
                new.data_dir.display()
            )));
        }
        let building = new.data_dir.join(RESTORING);
        if building.exists() {
            // the marker goes last
            for entry in fs::read_dir(&new.data_dir)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with("group-") {
                    fs::remove_dir_all(entry.path())?;
                } else if name.starts_with("GROUPS") {
                    fs::remove_file(entry.path())?;
                }
            }
            fs::remove_dir_all(&building)?;
        }
        // rows are in it long before a service manager narrows the modes
        DirBuilder::new().mode(0o700).create(&building)?;
        sync_dir(&new.data_dir)?;
        let memory = SharedMemory::new(CACHE_BYTES, WRITE_BUFFER_BYTES);
        Ok(Self { new, building, memory, groups: Vec::new() })
    }

    /// The state of one group, empty.
    ///
    /// # Errors
    /// From the disk.
    pub fn group(&mut self, group: u32) -> io::Result<GroupBuilder> {
        if group >= self.new.groups || self.groups.contains(&group) {
            return Err(io::Error::other(format!("group {group} is not one to be restored")));
        }
        let db = StateDb::open(&self.building.join(format!("group-{group}")), &self.memory)?;
        self.groups.push(group);
        Ok(GroupBuilder { db, batch: StateBatch::default(), bytes: 0 })
    }

    /// Makes the data directory complete. From here on a node starts on it.
    ///
    /// # Errors
    /// From the disk; or that a group is missing.
    pub fn finish(mut self) -> io::Result<()> {
        self.groups.sort_unstable();
        if !self.groups.iter().copied().eq(0..self.new.groups) {
            return Err(io::Error::other("not every group has been restored"));
        }
        let members = [(self.new.node_id, BasicNode::new(&self.new.address))];
        let membership = Membership::new(
            vec![[self.new.node_id].into()],
            members.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        );
        let membership = membership.map_err(io::Error::other)?;
        let log_id = first_log_id();
        for group in &self.groups {
            let dir = self.building.join(format!("group-{group}"));
            let db = StateDb::open(&dir, &self.memory)?;
            levels::check(levels::of_group(&*db)?, levels::KNOWN).map_err(|unknown| {
                io::Error::other(format!("the backup of group {group} {unknown}"))
            })?;
            let mut batch = StateBatch::default();
            batch.set_membership(&StoredMembers::new(Some(log_id), membership.clone()));
            batch.set_applied(&log_id);
            db.write(batch.0)?;
            db.flush()?;
            drop(db);
            sync_tree(&dir)?;
        }
        let data_dir = &self.new.data_dir;
        for group in &self.groups {
            let name = format!("group-{group}");
            fs::rename(self.building.join(&name), data_dir.join(&name))?;
        }
        // never made anew: the first membership is there
        let held = Held::open(data_dir, &[])?;
        for group in &self.groups {
            let opened_with = Some(log_id);
            held.set(*group, HeldGroup { state: State::Open, opened_with, vote_floor: None })?;
        }
        sync_dir(data_dir)?;
        identity::make(
            data_dir,
            &self.new.cluster_id,
            self.new.node_id,
            self.new.groups,
            self.new.incarnation,
        )?;
        fs::remove_dir(&self.building)?;
        sync_dir(data_dir)
    }
}

/// The state of a group in the making.
pub struct GroupBuilder {
    db: Arc<StateDb>,
    batch: StateBatch,
    bytes: usize,
}

impl GroupBuilder {
    /// Writes a row, by its physical key.
    ///
    /// # Errors
    /// From the disk; or that it is no row.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if key.first().is_none_or(|first| *first < crate::state_db::FIRST_ROW_BYTE) {
            return Err(io::Error::other("a key that no row has"));
        }
        self.batch.put(key, value);
        self.room_for(key.len() + value.len())
    }

    /// Takes a row away.
    ///
    /// # Errors
    /// From the disk.
    pub fn delete(&mut self, key: &[u8]) -> io::Result<()> {
        self.batch.delete(key);
        self.room_for(key.len())
    }

    /// Takes away every row that begins with `prefix`.
    ///
    /// # Errors
    /// From the disk.
    pub fn delete_prefix(&mut self, prefix: &[u8]) -> io::Result<()> {
        self.batch.delete_prefix(prefix);
        self.room_for(prefix.len())
    }

    /// A row that has been written.
    ///
    /// # Errors
    /// From the disk.
    pub fn get(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.write()?;
        self.db.get(key)
    }

    /// Every row that has been written, in order; what `visit` does to the group's rows meanwhile it does not see.
    ///
    /// # Errors
    /// From the disk, or from `visit`.
    pub fn rows(
        &mut self,
        mut visit: impl FnMut(&mut Changes<'_>, &[u8], &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write()?;
        let db = self.db.clone();
        let mut failed = Ok(());
        let mut changes = Changes { builder: self };
        db.visit_all(&mut |key, value| {
            failed = visit(&mut changes, key, value);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        self.write()
    }

    /// Writes what is held back. The group is complete.
    ///
    /// # Errors
    /// From the disk.
    pub fn finish(mut self) -> io::Result<()> {
        self.write()?;
        self.db.flush()
    }

    fn room_for(&mut self, bytes: usize) -> io::Result<()> {
        self.bytes += bytes;
        if self.bytes >= BATCH_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.bytes = 0;
        self.db.write(std::mem::take(&mut self.batch).0)
    }
}

/// What can be done to a group while its rows are read.
pub struct Changes<'a> {
    builder: &'a mut GroupBuilder,
}

impl Changes<'_> {
    /// See [`GroupBuilder::put`].
    ///
    /// # Errors
    /// As there.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.builder.put(key, value)
    }

    /// See [`GroupBuilder::delete`].
    ///
    /// # Errors
    /// As there.
    pub fn delete(&mut self, key: &[u8]) -> io::Result<()> {
        self.builder.delete(key)
    }
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => fs::File::open(entry.path())?.sync_all()?,
        }
    }
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conclave_store::{Clock, Placement, keys, proto};
    use prost::Message;

    use super::*;
    use crate::{GroupHost, GroupHostOptions};

    struct Fixed;

    impl Clock for Fixed {
        fn now_ms(&self) -> i64 {
            1_000
        }
    }

    impl Placement for Fixed {
        fn group_of(&self, _: &str) -> Option<u32> {
            Some(1)
        }
    }

    fn new(dir: &Path) -> NewData {
        NewData {
            data_dir: dir.to_owned(),
            cluster_id: "new".to_owned(),
            node_id: 1,
            address: "localhost:0".to_owned(),
            groups: 2,
            incarnation: [3; 16],
        }
    }

    fn put(builder: &mut GroupBuilder, key: &[u8], value: &'static [u8]) {
        let value = bytes::Bytes::from_static(value);
        let row = proto::StoredRow { version: 7, expires_at_ms: 0, value };
        builder.put(&keys::row("pool", key), &row.encode_to_vec()).expect("puts");
    }

    fn options(dir: &Path, cluster_id: &str) -> GroupHostOptions {
        GroupHostOptions::alone(cluster_id.to_owned(), dir.to_owned(), 2, [1; 16])
    }

    async fn start(dir: &Path, cluster_id: &str) -> Result<GroupHost, crate::StartError> {
        let host =
            GroupHost::start(options(dir, cluster_id), Arc::new(Fixed), Arc::new(Fixed)).await;
        crate::exit::without_destructors();
        host
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_serves_what_has_been_restored_and_can_be_cut_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut data = DataBuilder::begin(new(dir.path())).expect("begins");
        data.group(0).expect("opens").finish().expect("ends");
        let mut group = data.group(1).expect("opens");
        put(&mut group, keys::ROOT, b"root");
        put(&mut group, b"\x20kept", b"kept");
        put(&mut group, b"\x20gone", b"gone");
        let mut seen = 0;
        let visited = group.rows(|changes, key, _| {
            seen += 1;
            if key.ends_with(b"gone") { changes.delete(key) } else { Ok(()) }
        });
        visited.expect("visits");
        assert_eq!(seen, 3);
        group.finish().expect("ends");
        data.finish().expect("ends");

        let host = start(dir.path(), "new").await.expect("starts");
        assert!(host.wait_ready(Duration::from_secs(10)).await);
        let gets = vec![b"\x20kept".to_vec().into(), b"\x20gone".to_vec().into()];
        let read = proto::Read { scope: "pool".to_owned(), gets, ..proto::Read::default() };
        let result = host.store().read(read).await.expect("reads");
        assert!(result.scope_exists);
        assert_eq!(result.rows[0].value.as_deref(), Some(&b"kept"[..]));
        assert_eq!(result.rows[0].version, 7);
        assert_eq!(result.rows[1].value, None);

        let cut = host.cut(1).await.expect("cuts");
        let mut rows = 0;
        cut.rows(&mut |key, _| {
            rows += usize::from(key.starts_with(&keys::row("pool", &[])));
            ControlFlow::Continue(())
        })
        .expect("reads");
        assert_eq!(rows, 2);
        let mut under = Vec::new();
        cut.rows_under(&keys::row("pool", b"\x20"), &mut |key, _| {
            under.push(key.to_vec());
            ControlFlow::Continue(())
        })
        .expect("reads");
        assert_eq!(under, [keys::row("pool", b"\x20kept")]);
        drop(cut);
        host.shutdown().await;
        // and again, from its own log
        let host = start(dir.path(), "new").await.expect("starts");
        assert!(host.wait_ready(Duration::from_secs(10)).await);
        host.shutdown().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_restore_has_left_half_done_is_not_served_and_is_begun_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut data = DataBuilder::begin(new(dir.path())).expect("begins");
        data.group(0).expect("opens").finish().expect("ends");
        drop(data);
        let refused = start(dir.path(), "new").await.err().expect("is refused").to_string();
        assert!(refused.contains("restore"), "{refused}");
        // as after a crash between two moves
        let group = dir.path().join(RESTORING).join("group-0");
        fs::rename(group, dir.path().join("group-0")).expect("moves");
        assert!(start(dir.path(), "new").await.is_err());

        let mut data = DataBuilder::begin(new(dir.path())).expect("begins again");
        for number in 0..2 {
            data.group(number).expect("opens").finish().expect("ends");
        }
        data.finish().expect("ends");
        let refused = DataBuilder::begin(new(dir.path())).err().expect("is refused").to_string();
        assert!(refused.contains("is not empty"), "{refused}");
        let host = start(dir.path(), "new").await.expect("starts");
        assert!(host.wait_ready(Duration::from_secs(10)).await);
        host.shutdown().await;
    }
}
