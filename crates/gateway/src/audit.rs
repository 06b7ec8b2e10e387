//! What administrators have done: every signed operation, whoever it was refused to, for whoever keeps such records. Never what a request
//! or answer holds beyond the names of what it is about.

use std::{net::IpAddr, sync::Arc};

use conclave_api::{ApiError, Message};

use crate::{
    dispatch::{resource, text},
    principal::VerifiedPrincipal,
};

/// The outcome of an operation whose client did not wait for it.
const UNKNOWN: &str = "Unknown";

/// Where the record is kept.
pub trait AuditLog: Send + Sync {
    /// Writes one entry down. It must not wait for long: a request waits for it.
    fn write(&self, entry: &Entry, outcome: &str);
}

/// One operation.
#[derive(Debug)]
pub struct Entry {
    /// In the answer and the log too.
    pub request_id: Arc<str>,
    /// The operation.
    pub operation: &'static str,
    /// Who has signed.
    pub principal: VerifiedPrincipal,
    /// The address at the other end of the connection.
    pub from: Option<IpAddr>,
    /// Through which door.
    pub front: &'static str,
    /// What it is about.
    pub target: Target,
}

/// An operation under way. It is put on record whatever becomes of it.
pub struct Pending(Option<(Arc<dyn AuditLog>, Entry)>);

impl Pending {
    /// When an operation begins.
    pub fn begin(audit: Arc<dyn AuditLog>, entry: Entry) -> Self {
        Self(Some((audit, entry)))
    }

    /// When its outcome is known: `OK`, or the name of the exception.
    pub fn end(mut self, outcome: &str) {
        if let Some((audit, entry)) = self.0.take() {
            audit.write(&entry, outcome);
        }
    }
}

impl Drop for Pending {
    /// Who asked has gone away; the operation may go on.
    fn drop(&mut self) {
        if let Some((audit, entry)) = self.0.take() {
            audit.write(&entry, UNKNOWN);
        }
    }
}

/// What an operation is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// An ARN, or `*`.
    pub resource: String,
    /// Names in it, as the request has them.
    pub names: Vec<(&'static str, String)>,
}

/// Members that name something. None of them is a secret.
const NAMES: [&str; 10] = [
    "Username",
    "ClientId",
    "GroupName",
    "ProviderName",
    "Identifier",
    "Domain",
    "JobId",
    "PoolName",
    "ClientName",
    "ManagedLoginBrandingId",
];
/// Characters of a name: the model's limits are checked later.
const NAME_CHARS_MAX: usize = 256;

impl Target {
    /// Of a request, before it has been checked.
    pub fn of(principal: &VerifiedPrincipal, input: Result<&dyn Message, &ApiError>) -> Self {
        let Ok(input) = input else { return Self { resource: "*".to_owned(), names: Vec::new() } };
        let cut = |name: &str| name.chars().take(NAME_CHARS_MAX).collect::<String>();
        let names = NAMES.iter().filter_map(|name| Some((*name, cut(text(input, name)?))));
        Self { resource: cut(&resource(principal, input)), names: names.collect() }
    }
}
