//! Finding a user by what they call themselves: a user name, or an alias.
//!
//! Every index that the name may stand in is followed in one read, before the pool's rules are known;
//! [`find`] then takes the rules into account.

use conclave_api::ApiError;
use conclave_store::{
    keys::{self, IndexedAttribute, UserChild},
    records::{AttemptsRecord, CredentialsRecord, UserRecord},
};

use crate::{
    config::PoolConfig,
    tx::{Query, Stored, Tx},
};

/// The attributes that can be aliases.
pub const ALIAS_ATTRIBUTES: [(IndexedAttribute, &str); 3] = [
    (IndexedAttribute::Email, "email"),
    (IndexedAttribute::PhoneNumber, "phone_number"),
    (IndexedAttribute::PreferredUsername, "preferred_username"),
];

/// What is read of a user beside the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With<'a> {
    /// The root alone.
    Nothing,
    /// Password and failed attempts.
    Credentials,
    /// One child row.
    Child(UserChild, &'a [u8]),
}

/// A user as loaded.
pub struct FoundUser {
    /// The root.
    pub user: Stored<UserRecord>,
    /// With [`With::Credentials`], when there are any.
    pub credentials: Option<Stored<CredentialsRecord>>,
    /// With [`With::Credentials`], when there are any.
    pub attempts: Option<Stored<AttemptsRecord>>,
    /// The alias by which the user was found; `None` when it was the user name.
    pub alias: Option<IndexedAttribute>,
}

impl FoundUser {
    /// The user's id.
    pub fn sub(&self) -> &str {
        &self.user.record.sub
    }
}

/// `name` as the pool compares it. Source: developer guide, "User pool case sensitivity".
pub fn folded(config: &PoolConfig, name: &str) -> String {
    if config.is_case_sensitive() { name.to_owned() } else { name.to_lowercase() }
}

/// Adds everything to `query` that `name` may lead to.
#[must_use]
pub fn query(mut query: Query, name: &str, with: &[With<'_>]) -> Query {
    let mut hops = vec![keys::user_hop()];
    for with in with {
        match with {
            With::Nothing => {}
            With::Credentials => {
                hops.push(keys::user_child_hop(UserChild::Credentials, &[]));
                hops.push(keys::user_child_hop(UserChild::Attempts, &[]));
            }
            With::Child(child, part) => hops.push(keys::user_child_hop(*child, part)),
        }
    }
    let lower = name.to_lowercase();
    let mut forms = vec![name];
    if lower != name {
        forms.push(&lower);
    }
    for form in forms {
        query = query.follow(keys::username(form), &hops);
        for (attribute, _) in aliases_like(form) {
            query = query.follow(keys::alias(attribute, form), &hops);
        }
    }
    query
}

/// The user that `name` means in this pool. The rows of [`query`] must have been loaded.
///
/// # Errors
/// InternalErrorException when they have not.
pub fn find(tx: &Tx<'_>, config: &PoolConfig, name: &str) -> Result<Option<FoundUser>, ApiError> {
    let folded = folded(config, name);
    if let Some(sub) = tx.get_text(&keys::username(&folded)) {
        return found(tx, &sub, None);
    }
    for (attribute, attribute_name) in aliases_like(&folded) {
        if !config.signs_in_by(attribute_name) {
            continue;
        }
        if let Some(sub) = tx.get_text(&keys::alias(attribute, &folded)) {
            return found(tx, &sub, Some(attribute));
        }
    }
    Ok(None)
}

fn found(
    tx: &Tx<'_>,
    sub: &str,
    alias: Option<IndexedAttribute>,
) -> Result<Option<FoundUser>, ApiError> {
    let Some(user) = tx.get::<UserRecord>(&keys::user(sub))? else { return Ok(None) };
    // rows that this operation did not ask for count as absent
    let credentials = tx.get(&keys::user_child(sub, UserChild::Credentials, &[])).unwrap_or_default();
    let attempts = tx.get(&keys::user_child(sub, UserChild::Attempts, &[])).unwrap_or_default();
    Ok(Some(FoundUser { user, credentials, attempts, alias }))
}

/// The kinds of alias that a name can be by its form.
fn aliases_like(name: &str) -> impl Iterator<Item = (IndexedAttribute, &'static str)> {
    let email = name.contains('@');
    let phone = name.starts_with('+');
    ALIAS_ATTRIBUTES.into_iter().filter(move |(attribute, _)| match attribute {
        IndexedAttribute::Email => email,
        IndexedAttribute::PhoneNumber => phone,
        _ => true,
    })
}
