//! The spans of the commits that this node has proposed, so that applying one is part of its request's
//! trace: openraft applies on a task of its own, and a log entry carries no trace.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;
use tracing::Span;

/// Spans by the ids of commits; as many as there are commits in flight at most.
#[derive(Default)]
pub(crate) struct Proposals(Mutex<HashMap<Bytes, Span>>);

impl Proposals {
    /// Remembers the current span for the commit `id` until the guard is dropped. Costs nothing where
    /// nobody listens to spans.
    pub(crate) fn remember(&self, id: Bytes) -> Option<Proposal<'_>> {
        let span = Span::current();
        if span.is_disabled() {
            return None;
        }
        self.0.lock().insert(id.clone(), span);
        Some(Proposal { proposals: self, id })
    }

    /// The span of a commit that was proposed here and is waited for.
    pub(crate) fn take(&self, id: &Bytes) -> Option<Span> {
        self.0.lock().remove(id)
    }
}

/// A commit that is waited for.
pub(crate) struct Proposal<'a> {
    proposals: &'a Proposals,
    id: Bytes,
}

impl Drop for Proposal<'_> {
    fn drop(&mut self) {
        self.proposals.take(&self.id);
    }
}
