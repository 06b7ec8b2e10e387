//! The rules of a key set, as plain functions: what is due, and what a revocation does.

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_store::{
    keys,
    records::{KeySetRecord, KeyUseRecord, SigningKeyRecord, signing_key_record::State},
};
use prost::Message;

use super::{Timing, ms};
use crate::{config::TokenUse, errors};

/// Both uses.
pub const USES: [TokenUse; 2] = [TokenUse::Id, TokenUse::Access];

/// Rows of keys of one pool, at most. It is what one read of a configuration answers.
pub const ROWS_MAX: u32 = 64;
/// Keys of one use that retire at a time, at most: a rotation waits until there is room.
const RETIRING_MAX: usize = 16;
/// Revoked keys of one use that are remembered, at most. A key that is not known is refused as well.
const REVOKED_MAX: usize = 8;

/// The signing keys of a pool as they stand, and as they are changed.
#[derive(Clone, Default)]
pub struct KeySet {
    record: KeySetRecord,
    keys: Vec<SigningKeyRecord>,
    changed: Vec<String>,
    removed: Vec<String>,
}

/// The key and the value of a row.
pub type Put = (Vec<u8>, Bytes);

/// What is to be done with a key set.
#[derive(Clone, PartialEq, Eq)]
pub struct Due {
    /// Uses that lack a key that can follow, and whether it signs from the beginning on.
    pub lacking: Vec<(TokenUse, State)>,
    /// When something is to be done next, though nobody asks for it; `None`: never.
    pub next_ms: Option<i64>,
}

/// Why a key is not revoked, or a rotation not ordered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such key.
    #[error("the pool has no signing key {0}")]
    NoSuchKey(String),
    /// Somebody else was first.
    #[error("the keys have changed meanwhile: they are at version {0}")]
    Changed(u64),
}

impl KeySet {
    /// From the rows of a pool: `rows` are those of its signing keys.
    ///
    /// # Errors
    /// InternalErrorException when a record cannot be decoded.
    pub fn read<'a>(
        record: Option<&[u8]>,
        rows: impl Iterator<Item = &'a Bytes>,
    ) -> Result<Self, ApiError> {
        let undecodable = |_| errors::internal("a stored record cannot be decoded");
        let record = record.map(KeySetRecord::decode).transpose().map_err(undecodable)?;
        let keys = rows.map(|row| SigningKeyRecord::decode(row.clone()));
        Ok(Self {
            record: record.unwrap_or_default(),
            keys: keys.collect::<Result<_, _>>().map_err(undecodable)?,
            ..Self::default()
        })
    }

    /// The set's own record.
    pub fn record(&self) -> &KeySetRecord {
        &self.record
    }

    /// The keys, in the order of their ids.
    pub fn keys(&self) -> &[SigningKeyRecord] {
        &self.keys
    }

    /// Whether something has been changed since it was read.
    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty() || !self.removed.is_empty()
    }

    /// The rows to write, and the keys of those to delete.
    pub fn writes(&self) -> (Vec<Put>, Vec<Vec<u8>>) {
        let changed = self.keys.iter().filter(|key| self.changed.contains(&key.kid));
        let mut puts: Vec<_> = changed
            .map(|key| (keys::signing_key(&key.kid), Bytes::from(key.encode_to_vec())))
            .collect();
        puts.push((keys::key_set(), self.record.encode_to_vec().into()));
        (puts, self.removed.iter().map(|kid| keys::signing_key(kid)).collect())
    }

    /// Takes every step that is due by `now_ms` and needs no new key.
    pub fn advance(&mut self, timing: &Timing, now_ms: i64) -> Due {
        let mut due = Due { lacking: Vec::new(), next_ms: None };
        for token_use in USES {
            self.remove_old(token_use, timing, now_ms);
            if self.find(token_use, State::Active).is_none() {
                // nothing signs: not even a key that nobody has seen yet is worse than that
                if !self.activate(token_use, now_ms) {
                    due.lacking.push((token_use, State::Active));
                }
            } else if self.rotation_ms(token_use, timing).is_some_and(|ms| ms <= now_ms)
                && self.count(token_use, State::Retiring) < RETIRING_MAX
            {
                self.activate(token_use, now_ms);
            }
            if self.find(token_use, State::Pending).is_none() {
                due.lacking.push((token_use, State::Pending));
            }
        }
        if self.is_changed() {
            self.record.version += 1;
        }
        let removals = self.keys.iter().filter_map(|key| Self::removal_ms(key, timing));
        let rotations = USES.into_iter().filter_map(|token_use| {
            let ms = self.rotation_ms(token_use, timing)?;
            // one that waits for room goes on when a key goes
            (self.count(token_use, State::Retiring) < RETIRING_MAX).then_some(ms)
        });
        due.next_ms = removals.chain(rotations).min();
        due
    }

    /// Adds a key that was made for what [`KeySet::advance`] found lacking.
    pub fn add(&mut self, key: SigningKeyRecord) {
        if !self.is_changed() {
            self.record.version += 1;
        }
        self.changed.push(key.kid.clone());
        self.keys.push(key);
    }

    /// Asks for a rotation. It takes place when the pending key has been published for long enough.
    ///
    /// # Errors
    /// [`Refused::Changed`] when the set is not at the version that is expected.
    pub fn ask_rotation(
        &mut self,
        uses: &[TokenUse],
        expected_version: Option<u64>,
        now_ms: i64,
    ) -> Result<(), Refused> {
        self.expect(expected_version)?;
        for token_use in uses {
            self.use_mut(*token_use).rotation_asked_ms = now_ms.max(1);
        }
        self.record.version += 1;
        Ok(())
    }

    /// Revokes a key. One that signs has a successor at once, where there is a pending one, and nothing that was issued
    /// before its end counts any more.
    ///
    /// # Errors
    /// Every [`Refused`].
    pub fn revoke(
        &mut self,
        kid: &str,
        expected_version: Option<u64>,
        now_ms: i64,
    ) -> Result<(), Refused> {
        self.expect(expected_version)?;
        let key = self.keys.iter_mut().find(|key| key.kid == kid);
        let key = key.ok_or_else(|| Refused::NoSuchKey(kid.to_owned()))?;
        let token_use = TokenUse::parse(&key.r#use);
        let signed_until_ms = match key.state() {
            State::Revoked => return Ok(()),
            State::Active => Some(now_ms),
            State::Retiring => Some(key.retired_ms),
            State::Pending | State::Unspecified => None,
        };
        key.set_state(State::Revoked);
        key.revoked_ms = now_ms;
        key.sealed_private_key = Bytes::new();
        self.changed.push(kid.to_owned());
        if let (Some(token_use), Some(until_ms)) = (token_use, signed_until_ms) {
            let entry = self.use_mut(token_use);
            entry.tokens_not_before_ms = entry.tokens_not_before_ms.max(until_ms);
            if self.find(token_use, State::Active).is_none() {
                self.activate(token_use, now_ms);
            }
        }
        self.record.version += 1;
        Ok(())
    }

    fn expect(&self, version: Option<u64>) -> Result<(), Refused> {
        match version {
            Some(version) if version != self.record.version => {
                Err(Refused::Changed(self.record.version))
            }
            _ => Ok(()),
        }
    }

    /// Has the pending key that was published first sign. Answers whether there is one.
    fn activate(&mut self, token_use: TokenUse, now_ms: i64) -> bool {
        let Some(next) = self.find(token_use, State::Pending).map(|key| key.kid.clone()) else {
            return false;
        };
        for key in &mut self.keys {
            if key.kid == next {
                key.set_state(State::Active);
                key.activated_ms = now_ms;
            } else if key.r#use == token_use.as_str() && key.state() == State::Active {
                key.set_state(State::Retiring);
                key.retired_ms = now_ms;
                // it signs no more, so nobody needs it
                key.sealed_private_key = Bytes::new();
            } else {
                continue;
            }
            self.changed.push(key.kid.clone());
        }
        self.use_mut(token_use).rotation_asked_ms = 0;
        true
    }

    fn remove_old(&mut self, token_use: TokenUse, timing: &Timing, now_ms: i64) {
        for key in self.keys.iter_mut().filter(|key| key.r#use == token_use.as_str()) {
            // what a version has retired that did not write down when
            if key.state() == State::Retiring && key.retired_ms == 0 {
                key.retired_ms = now_ms;
                self.changed.push(key.kid.clone());
            }
        }
        let mut revoked: Vec<i64> = self
            .of(token_use)
            .filter(|key| key.state() == State::Revoked)
            .map(|key| key.revoked_ms)
            .collect();
        revoked.sort_unstable_by(|a, b| b.cmp(a));
        let too_old_ms = revoked.get(REVOKED_MAX).copied().unwrap_or(i64::MIN);
        let removed: Vec<String> = self
            .of(token_use)
            .filter(|key| {
                Self::removal_ms(key, timing).is_some_and(|ms| ms <= now_ms)
                    || key.state() == State::Revoked && key.revoked_ms <= too_old_ms
            })
            .map(|key| key.kid.clone())
            .collect();
        self.keys.retain(|key| !removed.contains(&key.kid));
        self.changed.retain(|kid| !removed.contains(kid));
        self.removed.extend(removed);
    }

    /// When a key goes; `None`: not by itself.
    fn removal_ms(key: &SigningKeyRecord, timing: &Timing) -> Option<i64> {
        let since_ms = match key.state() {
            State::Retiring => key.retired_ms,
            State::Revoked => key.revoked_ms,
            State::Pending | State::Active | State::Unspecified => return None,
        };
        Some(since_ms.saturating_add(ms(timing.retire)))
    }

    /// When the next rotation may take place; `None`: there is nothing to follow, or no reason to.
    fn rotation_ms(&self, token_use: TokenUse, timing: &Timing) -> Option<i64> {
        let active = self.find(token_use, State::Active)?;
        let pending = self.find(token_use, State::Pending)?;
        let since_ms =
            if active.activated_ms == 0 { active.created_ms } else { active.activated_ms };
        let asked = self.use_of(token_use).is_some_and(|entry| entry.rotation_asked_ms > 0);
        let wanted_ms = match (asked, timing.rotate_after) {
            (true, _) => since_ms,
            (false, Some(after)) => since_ms.saturating_add(ms(after)),
            (false, None) => return None,
        };
        Some(wanted_ms.max(pending.created_ms.saturating_add(ms(timing.publish))))
    }

    fn of(&self, token_use: TokenUse) -> impl Iterator<Item = &SigningKeyRecord> {
        self.keys.iter().filter(move |key| key.r#use == token_use.as_str())
    }

    /// The oldest key of a use in a state.
    fn find(&self, token_use: TokenUse, state: State) -> Option<&SigningKeyRecord> {
        let found = self.of(token_use).filter(|key| key.state() == state);
        found.min_by(|a, b| (a.created_ms, &a.kid).cmp(&(b.created_ms, &b.kid)))
    }

    fn count(&self, token_use: TokenUse, state: State) -> usize {
        self.of(token_use).filter(|key| key.state() == state).count()
    }

    fn use_of(&self, token_use: TokenUse) -> Option<&KeyUseRecord> {
        use_of(&self.record, token_use)
    }

    fn use_mut(&mut self, token_use: TokenUse) -> &mut KeyUseRecord {
        let uses = &mut self.record.uses;
        let found = uses.iter().position(|entry| entry.r#use == token_use.as_str());
        let index = found.unwrap_or_else(|| {
            uses.push(KeyUseRecord { r#use: token_use.as_str().to_owned(), ..Default::default() });
            uses.len() - 1
        });
        &mut uses[index]
    }
}

/// What a set says of one use.
pub fn use_of(record: &KeySetRecord, token_use: TokenUse) -> Option<&KeyUseRecord> {
    record.uses.iter().find(|entry| entry.r#use == token_use.as_str())
}
