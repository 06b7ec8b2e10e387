//! Finding a user by what they call themselves: a user name, or an alias.
//!
//! Every index that the name may stand in is followed in one read, before the pool's rules are known;
//! [`find`] then takes the rules into account. Signed operations also find a user by the sub:
//! [`admin_query`] and [`find_for_admin`].

use conclave_api::ApiError;
use conclave_crypto::ids;
use conclave_store::{
    keys::{self, IndexedAttribute, UserChild},
    records::{AttemptsRecord, CredentialsRecord, UserRecord},
};
use prost::Message;

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

/// Names of more bytes are not looked up: no user has one, and a key has to hold it.
pub const NAME_BYTES_MAX: usize = 512;

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
    /// The alias by which the user was found; `None` when it was the user name or the sub.
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
    if name.len() > NAME_BYTES_MAX {
        return query;
    }
    let mut hops = vec![keys::user_hop()];
    for (child, part) in children(with) {
        hops.push(keys::user_child_hop(child, part));
    }
    for form in forms(name) {
        query = query.follow(keys::username(&form), &hops);
        for (attribute, _) in aliases_like(&form) {
            query = query.follow(keys::alias(attribute, &form), &hops);
        }
    }
    query
}

/// As [`query`], for operations that take a sub as well. Source: API reference, AdminGetUser, `Username`.
#[must_use]
pub fn admin_query(query: Query, name: &str, with: &[With<'_>]) -> Query {
    let mut query = self::query(query, name, with);
    if is_sub(name) {
        query = query.get(keys::user(name));
        for (child, part) in children(with) {
            query = query.get(keys::user_child(name, child, part));
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

/// The user that an administrator means by `name`. The rows of [`admin_query`] must have been loaded.
/// A sub comes first: nobody can hide a user by taking that user's sub as a name.
///
/// # Errors
/// InternalErrorException when the rows have not been loaded.
pub fn find_for_admin(
    tx: &Tx<'_>,
    config: &PoolConfig,
    name: &str,
) -> Result<Option<FoundUser>, ApiError> {
    if is_sub(name)
        && let Some(user) = found(tx, name, None)?
    {
        return Ok(Some(user));
    }
    find(tx, config, name)
}

fn found(
    tx: &Tx<'_>,
    sub: &str,
    alias: Option<IndexedAttribute>,
) -> Result<Option<FoundUser>, ApiError> {
    let Some(user) = tx.get::<UserRecord>(&keys::user(sub))? else { return Ok(None) };
    Ok(Some(FoundUser {
        user,
        credentials: child(tx, sub, UserChild::Credentials, &[])?,
        attempts: child(tx, sub, UserChild::Attempts, &[])?,
        alias,
    }))
}

/// A row that lives under a user; one that was not asked for counts as absent.
///
/// # Errors
/// InternalErrorException when it cannot be decoded.
pub fn child<R: Message + Default>(
    tx: &Tx<'_>,
    sub: &str,
    child: UserChild,
    part: &[u8],
) -> Result<Option<Stored<R>>, ApiError> {
    let key = keys::user_child(sub, child, part);
    if tx.get_bytes(&key).is_none() { Ok(None) } else { tx.get(&key) }
}

/// The forms in which an index may hold `name`: pools differ in whether they tell case apart.
pub fn forms(name: &str) -> Vec<String> {
    let lower = name.to_lowercase();
    if lower == name { vec![lower] } else { vec![name.to_owned(), lower] }
}

fn is_sub(name: &str) -> bool {
    ids::uuid_to_bytes(name).is_some()
}

fn children<'a>(with: &[With<'a>]) -> Vec<(UserChild, &'a [u8])> {
    const NO_NAME: &[u8] = &[];
    let mut children = Vec::new();
    for with in with {
        match with {
            With::Nothing => {}
            With::Credentials => {
                children.push((UserChild::Credentials, NO_NAME));
                children.push((UserChild::Attempts, NO_NAME));
            }
            With::Child(child, part) => children.push((*child, *part)),
        }
    }
    children
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
