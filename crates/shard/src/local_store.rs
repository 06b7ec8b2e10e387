//! The store contract over the groups of this process, without a network: for a node that is alone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use conclave_store::{
    DIRECTORY_GROUP, DIRECTORY_SCOPE, Placement, Store, StoreError, keys, proto,
    records::PoolLocationRecord,
};
use parking_lot::Mutex;
use prost::Message;
use tokio::time::{Instant, sleep};

use crate::{
    group::{Group, GroupError},
    replicas::HostInner,
};

/// Where scopes live, as the directory has said.
const LOCATIONS_MAX: usize = 10_000;
/// How long to wait between two looks whether a leader has been elected.
const ELECTION_WAIT: Duration = Duration::from_millis(20);

pub(crate) struct LocalStore {
    host: Arc<HostInner>,
    placement: Arc<dyn Placement>,
    locations: Mutex<HashMap<String, u32>>,
}

impl LocalStore {
    pub(crate) fn new(host: Arc<HostInner>, placement: Arc<dyn Placement>) -> Self {
        Self { host, placement, locations: Mutex::default() }
    }

    /// The group of a scope; `None` when the directory does not know the scope.
    async fn group_of(&self, scope: &str) -> Result<Option<Arc<Group>>, StoreError> {
        let fixed = conclave_store::fixed_group(scope);
        let number = if let Some(group) = fixed.or_else(|| self.placement.group_of(scope)) {
            Some(group)
        } else {
            let known = self.locations.lock().get(scope).copied();
            match known {
                Some(group) => Some(group),
                None => self.look_up(scope).await?,
            }
        };
        let Some(number) = number else { return Ok(None) };
        match self.host.group(number) {
            Some(group) => Ok(Some(group)),
            None => Err(StoreError::Unavailable { detail: format!("no group {number} here") }),
        }
    }

    async fn look_up(&self, scope: &str) -> Result<Option<u32>, StoreError> {
        let directory = self.host.group(DIRECTORY_GROUP).ok_or_else(|| {
            StoreError::Unavailable { detail: "the directory is not here".to_owned() }
        })?;
        let read = proto::Read {
            scope: DIRECTORY_SCOPE.to_owned(),
            gets: vec![keys::pool_location(scope).into()],
            ..proto::Read::default()
        };
        let result = self.until_led(|| directory.read(&read)).await?;
        let Some(value) = result.rows.into_iter().next().and_then(|row| row.value) else {
            return Ok(None);
        };
        let location = PoolLocationRecord::decode(value)
            .map_err(|e| StoreError::Unavailable { detail: format!("a broken location: {e}") })?;
        let mut locations = self.locations.lock();
        if locations.len() >= LOCATIONS_MAX {
            locations.clear();
        }
        locations.insert(scope.to_owned(), location.group);
        Ok(Some(location.group))
    }

    /// Repeats what was not done because nobody led the group.
    async fn until_led<T, F: Future<Output = Result<T, GroupError>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + self.host.shared.limits.read_timeout;
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(GroupError::NotLeader(_)) if Instant::now() < deadline => {
                    sleep(ELECTION_WAIT).await;
                }
                Err(error) => return Err(store_error(error)),
            }
        }
    }
}

fn store_error(error: GroupError) -> StoreError {
    match error {
        GroupError::NotLeader(_) => {
            StoreError::Unavailable { detail: "this node does not lead the group".to_owned() }
        }
        GroupError::Overloaded { retry_after_ms } => StoreError::Overloaded { retry_after_ms },
        GroupError::Unavailable(detail) | GroupError::Full(detail) => {
            StoreError::Unavailable { detail }
        }
        GroupError::Unknown(detail) => StoreError::Unknown { detail },
        GroupError::Invalid(detail) => StoreError::Invalid { detail },
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError> {
        match self.group_of(&read.scope).await? {
            Some(group) => self.until_led(|| group.read(&read)).await,
            // a scope that the directory does not know has no rows; the time is the directory's
            None => {
                let directory = self.host.group(DIRECTORY_GROUP).ok_or_else(|| {
                    StoreError::Unavailable { detail: "the directory is not here".to_owned() }
                })?;
                self.until_led(|| directory.read(&read)).await
            }
        }
    }

    async fn commit(&self, commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        let Some(group) = self.group_of(&commit.scope).await? else {
            let gone = proto::outcome::Result::ScopeGone(proto::ScopeGone {});
            return Ok(proto::Outcome { result: Some(gone) });
        };
        self.until_led(|| group.commit(commit.clone())).await
    }
}
