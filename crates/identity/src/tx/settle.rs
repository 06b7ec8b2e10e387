//! The two ways to the store, each in a span that says how much, and never which rows.

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_store::{StoreError, proto};
use tracing::{Instrument as _, Span, field::Empty};

use crate::{errors, world::World};

/// How often a commit of unknown outcome is repeated, with the same id and bytes.
const REPEATS_MAX: u32 = 4;

/// What became of a commit.
pub(super) enum Settled {
    Committed,
    Again,
    OutOfBounds(Bytes),
    ScopeGone,
}

/// Reads, in a span that says how much: never which rows.
pub(crate) async fn read(
    world: &World,
    read: proto::Read,
) -> Result<proto::ReadResult, StoreError> {
    let span = tracing::info_span!(
        "store.read",
        gets = read.gets.len(),
        follows = read.follows.len(),
        scans = read.scans.len(),
        rows = Empty,
        outcome = Empty,
    );
    let result = world.store.read(read).instrument(span.clone()).await;
    span.record("outcome", result.as_ref().map_or_else(name, |_| "OK"));
    if let Ok(result) = &result {
        span.record("rows", result.rows.len());
    }
    result
}

/// What a span calls an error: its text can name a scope.
fn name(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable { .. } => "Unavailable",
        StoreError::Overloaded { .. } => "Overloaded",
        StoreError::Unknown { .. } => "Unknown",
        StoreError::Invalid { .. } => "Invalid",
    }
}

/// Commits, in a span that says how much is written and what came of it: never which rows.
pub(super) async fn settle(world: &World, commit: proto::Commit) -> Result<Settled, ApiError> {
    let span = tracing::info_span!(
        "store.commit",
        checks = commit.checks.len(),
        writes = commit.writes.len(),
        repeats = Empty,
        outcome = Empty,
    );
    commit_until_known(world, commit).instrument(span).await
}

/// Commits; an unknown outcome is repeated with the same bytes, never decided again.
async fn commit_until_known(world: &World, commit: proto::Commit) -> Result<Settled, ApiError> {
    use proto::outcome::Result as Answer;
    let mut repeats = 0;
    let answer = loop {
        match world.store.commit(commit.clone()).await {
            Err(StoreError::Unknown { .. }) if repeats < REPEATS_MAX => repeats += 1,
            answer => break answer,
        }
    };
    let span = Span::current();
    span.record("repeats", i64::from(repeats));
    span.record(
        "outcome",
        match &answer {
            Ok(proto::Outcome { result: Some(Answer::Committed(_)) }) => "Committed",
            Ok(proto::Outcome { result: Some(Answer::Conflict(_)) }) => "Conflict",
            Ok(proto::Outcome { result: Some(Answer::Stale(_)) }) => "Stale",
            Ok(proto::Outcome { result: Some(Answer::OutOfBounds(_)) }) => "OutOfBounds",
            Ok(proto::Outcome { result: Some(Answer::ScopeGone(_)) }) => "ScopeGone",
            Ok(proto::Outcome { result: None }) => "None",
            Err(error) => name(error),
        },
    );
    let outcome = answer.map_err(|error| errors::store(&error))?;
    match outcome.result {
        Some(Answer::Committed(_)) => Ok(Settled::Committed),
        Some(Answer::Conflict(_)) => Ok(Settled::Again),
        // stale after a repetition: it may have been committed long ago, so it is not decided again
        Some(Answer::Stale(_)) if repeats > 0 => {
            Err(errors::internal("the outcome of a commit is not known"))
        }
        Some(Answer::Stale(_)) => Ok(Settled::Again),
        Some(Answer::OutOfBounds(bounds)) => Ok(Settled::OutOfBounds(bounds.key)),
        Some(Answer::ScopeGone(_)) => Ok(Settled::ScopeGone),
        None => Err(errors::internal("the store answered nothing")),
    }
}
