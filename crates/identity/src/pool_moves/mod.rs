//! Pools that come from another cluster, under the id that they have there.
//!
//! Everything in a pool is sealed with the pool's own keys, bound to the pool's id, the row and the field. So rows move
//! as they are, and the keys alone are opened at one end ([`keys`]) and wrapped by the other cluster's key at the other.
//!
//! An import is a pool in the making ([`Import`]): first its place in the directory, which says that it is on its way
//! ([`directory_rows`]); then all of its rows, in a scope that has no root ([`stage`]), so that nobody can read them; then
//! its clients and domains in the directory; at last the root, in one commit, from which on the pool is there. What a
//! crash leaves before that serves nothing. The next import of the same pool begins by clearing it away, and the
//! reconciler does so when there is none.

mod directory_rows;
pub mod freeze;
mod import;
pub mod keys;
mod stage;
#[cfg(test)]
mod tests;

use conclave_api::ApiError;
use conclave_store::StoreError;

pub use import::{Import, Imported, Order};
pub use keys::PoolKeys;
pub(crate) use stage::clear as clear_staged;

use crate::restore::Damaged;

/// Why a pool is not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The cluster has them already.
    #[error("there already: {}", .0.join(", "))]
    Taken(Vec<String>),
    /// This cluster takes an id for one of its own that leads elsewhere.
    #[error("{0} cannot be used in this cluster: it reads as an id of its own, of another place")]
    Misleading(String),
    /// The account has to be made first.
    #[error("there is no account {0}")]
    NoAccount(String),
    /// Another import has begun, or this one was silent for so long that it was cleared away.
    #[error(
        "another import of the pool has taken its place, or this one has been silent for too long: begin again"
    )]
    Lost,
    /// The keys are not those that the rows are sealed with.
    #[error("the keys are not those of the pool")]
    OtherKeys,
    /// Tokens that were issued before the export could not be told from later ones.
    #[error("the clock of this cluster is before the time of the export")]
    ClockBehind,
    /// What was exported cannot be read.
    #[error("the export is damaged: {0}")]
    Damaged(String),
    /// What the cluster answers.
    #[error("{}", .0.message)]
    Refused(ApiError),
    /// No answer.
    #[error("the cluster does not answer: {0}")]
    Store(#[from] StoreError),
}

impl From<ApiError> for ImportError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<Damaged> for ImportError {
    fn from(_: Damaged) -> Self {
        Self::Damaged("a row cannot be decoded".to_owned())
    }
}
