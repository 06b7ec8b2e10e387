//! Reads: gets, follows and scans of one scope, from one state.

use std::{io, ops::ControlFlow};

use bytes::Bytes;
use prost::Message;

use crate::{
    Kv, keys,
    limits::READ_BYTES_MAX,
    proto::{self, Row, ScanEnd},
};

/// Answers `read` from the state `kv`. `wall_ms` is the leader's clock.
///
/// # Errors
/// What the disk says, or that a stored row cannot be decoded.
pub fn read(kv: &dyn Kv, read: &proto::Read, wall_ms: i64) -> io::Result<proto::ReadResult> {
    let state = group_state(kv)?;
    let now_ms = state.clock_ms.max(wall_ms);
    let mut reader = Reader { kv, scope: &read.scope, now_ms, rows: Vec::new(), bytes: 0 };

    for key in &read.gets {
        reader.get(key)?;
    }
    for follow in &read.follows {
        if let Some(id) = reader.get(&follow.index)? {
            for hop in &follow.hops {
                let key = [&hop.before[..], &id, &hop.after].concat();
                if hop.prefix_limit == 0 {
                    reader.get(&key)?;
                } else {
                    reader.scan(&key, &[], hop.prefix_limit)?;
                }
            }
        }
    }
    let mut scan_ends = Vec::with_capacity(read.scans.len());
    for scan in &read.scans {
        scan_ends.push(reader.scan(&scan.prefix, &scan.after, scan.limit)?);
    }
    let rows = reader.rows;

    let epoch = live_row(kv, &read.scope, keys::EPOCH, now_ms)?;
    let root = live_row(kv, &read.scope, keys::ROOT, now_ms)?;
    Ok(proto::ReadResult {
        now_ms,
        seq: state.seq,
        epoch: epoch.and_then(|row| counter(&row.value)).unwrap_or(0).unsigned_abs(),
        scope_exists: root.is_some(),
        rows,
        scan_ends,
    })
}

struct Reader<'a> {
    kv: &'a dyn Kv,
    scope: &'a str,
    now_ms: i64,
    rows: Vec<Row>,
    bytes: usize,
}

impl Reader<'_> {
    fn get(&mut self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let row = live_row(self.kv, self.scope, key, self.now_ms)?;
        let value = row.as_ref().map(|row| row.value.clone());
        self.push(key, row);
        Ok(value)
    }

    fn scan(&mut self, prefix: &[u8], after: &[u8], limit: u32) -> io::Result<ScanEnd> {
        let base = keys::row(self.scope, &[]);
        let physical_after =
            if after.is_empty() { None } else { Some(keys::row(self.scope, after)) };
        let mut count = 0;
        let mut more = false;
        let mut broken = Ok(());
        // one row more than asked, to know whether there is more
        self.kv.scan(
            &keys::row(self.scope, prefix),
            physical_after.as_deref(),
            limit as usize + 1,
            &mut |key, value| {
                // one row always fits, so that who pages through a scan gets to its end
                if count == limit || (count > 0 && self.bytes > READ_BYTES_MAX) {
                    more = true;
                    return ControlFlow::Break(());
                }
                match proto::StoredRow::decode(value) {
                    Ok(row) => {
                        let row = Some(row).filter(|row| is_live(row, self.now_ms));
                        self.push(key.get(base.len()..).unwrap_or_default(), row);
                        count += 1;
                        ControlFlow::Continue(())
                    }
                    Err(error) => {
                        broken = Err(corrupt(error));
                        ControlFlow::Break(())
                    }
                }
            },
        )?;
        broken?;
        Ok(ScanEnd { count, more })
    }

    fn push(&mut self, key: &[u8], row: Option<proto::StoredRow>) {
        let key = Bytes::copy_from_slice(key);
        let (version, value) = row.map_or((0, None), |row| (row.version, Some(row.value)));
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.rows.push(Row { key, version, value });
    }
}

/// The row of `scope`, unless it is absent or has expired at `now_ms`.
pub(crate) fn live_row(
    kv: &dyn Kv,
    scope: &str,
    key: &[u8],
    now_ms: i64,
) -> io::Result<Option<proto::StoredRow>> {
    Ok(stored_row(kv, scope, key)?.filter(|row| is_live(row, now_ms)))
}

/// The row of `scope`, expired or not.
pub(crate) fn stored_row(
    kv: &dyn Kv,
    scope: &str,
    key: &[u8],
) -> io::Result<Option<proto::StoredRow>> {
    let value = kv.get(&keys::row(scope, key))?;
    value.map(|value| proto::StoredRow::decode(&value[..]).map_err(corrupt)).transpose()
}

pub(crate) fn is_live(row: &proto::StoredRow, now_ms: i64) -> bool {
    row.expires_at_ms == 0 || row.expires_at_ms > now_ms
}

pub(crate) fn group_state(kv: &dyn Kv) -> io::Result<proto::GroupState> {
    let state = kv.get(keys::GROUP_STATE)?;
    state.map_or_else(
        || Ok(proto::GroupState::default()),
        |value| proto::GroupState::decode(&value[..]).map_err(corrupt),
    )
}

/// The value of a counter row; `None` when the row is not a counter.
pub(crate) fn counter(value: &[u8]) -> Option<i64> {
    value.try_into().ok().map(i64::from_be_bytes)
}

pub(crate) fn corrupt(error: prost::DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
