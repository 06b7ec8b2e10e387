//! Brings a cluster to what a seed declares.

use conclave_api::{ApiError, ExceptionName};
use conclave_identity::world::World;

use super::{
    SeedError, SeedErrors, access_keys, check,
    file::Seed,
    form::{ACCOUNTS, USER_POOLS},
    node::Node,
    pools,
};

/// What has been done.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Report {
    pub created: usize,
    pub updated: usize,
    pub unchanged: usize,
    /// What was created or updated, in order: for people. No secrets.
    pub changes: Vec<String>,
    /// Ids of the pools and clients, whether they have been there before or not: for people.
    pub ids: Vec<String>,
}

/// What has become of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Created,
    /// With the names of what was changed.
    Updated(Vec<String>),
    Unchanged,
}

impl Report {
    /// Counts one thing.
    pub fn add(&mut self, what: &str, name: &str, outcome: Outcome) {
        match outcome {
            Outcome::Created => {
                self.created += 1;
                self.changes.push(format!("created {what} {name}"));
            }
            Outcome::Updated(members) => {
                self.updated += 1;
                self.changes.push(format!("updated {what} {name}: {}", members.join(", ")));
            }
            Outcome::Unchanged => self.unchanged += 1,
        }
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let Self { created, updated, unchanged, .. } = self;
        format!("{created} created, {updated} updated, {unchanged} unchanged")
    }
}

impl Outcome {
    /// From the names of what has been changed.
    pub fn of_changes(members: Vec<String>) -> Self {
        if members.is_empty() { Self::Unchanged } else { Self::Updated(members) }
    }
}

/// Makes and changes what has to be. Stops at the first thing that is refused; what has been done until then stays, and a repetition goes on
/// from there.
///
/// # Errors
/// The refusal, with the line of what was refused.
pub async fn apply(world: &World, seed: &Seed) -> Result<Report, SeedErrors> {
    let mut report = Report::default();
    match steps(world, &seed.root, &mut report).await {
        Ok(()) => Ok(report),
        Err(error) => Err(SeedErrors { name: seed.name.clone(), errors: vec![error] }),
    }
}

async fn steps(world: &World, root: &Node, report: &mut Report) -> Result<(), SeedError> {
    for account in root.list(ACCOUNTS.list) {
        access_keys::account(world, account, report).await?;
    }
    for pool in root.list(USER_POOLS.list) {
        pools::pool(world, pool, report).await?;
    }
    Ok(())
}

/// Gives a refusal the line of what was refused.
pub fn refused(node: &Node) -> impl Fn(ApiError) -> SeedError {
    move |error| check::at(node, &error)
}

/// Something that is there, or `None` when the API says that it is not.
pub fn found<T>(answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error)
            if matches!(
                error.code,
                ExceptionName::ResourceNotFoundException | ExceptionName::UserNotFoundException
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A member was declared that can be chosen only when the thing is made.
pub fn for_good(node: &Node, member: &str) -> SeedError {
    let text = format!("{member} cannot be changed any more: it is there with another value");
    SeedError::at(node.line_of(member), text)
}
