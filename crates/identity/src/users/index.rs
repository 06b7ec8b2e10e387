//! A user's record and the rows that lead to it: by name, by alias, by attribute value. They change
//! together, in [`write_user`] and nowhere else, so that a name leads to one user under any races.

use std::collections::BTreeMap;

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_store::{
    keys::{self, IndexedAttribute},
    limits,
    records::UserRecord,
};
use prost::Message;

use super::{aliases, attributes, links, lookup};
use crate::{config::PoolConfig, errors, groups::membership, passkeys, tx::Tx};

/// The attributes that ListUsers finds users by.
const ATTRIBUTES: [(IndexedAttribute, &str); 6] = [
    (IndexedAttribute::Email, "email"),
    (IndexedAttribute::PhoneNumber, "phone_number"),
    (IndexedAttribute::PreferredUsername, "preferred_username"),
    (IndexedAttribute::Name, "name"),
    (IndexedAttribute::GivenName, "given_name"),
    (IndexedAttribute::FamilyName, "family_name"),
];

/// What `status` is called in a filter.
pub fn status_text(enabled: bool) -> &'static str {
    if enabled { "Enabled" } else { "Disabled" }
}

/// Puts the record of a user and adjusts the rows that lead to it. `old` is the record as it was
/// loaded, `None` for a new user. Once for each user in a decision.
///
/// The commit fails when a name or alias that the user gets has come to be another's meanwhile; whoever
/// decides again then finds that out.
///
/// # Errors
/// InvalidParameterException when a record would be too large; InternalErrorException when the pool was
/// not loaded.
pub fn write_user(
    tx: &mut Tx<'_>,
    old: Option<&UserRecord>,
    new: &UserRecord,
) -> Result<(), ApiError> {
    write_users(tx, &[(old, new)])
}

/// [`write_user`] for users between whom a name moves.
///
/// # Errors
/// As [`write_user`].
pub fn write_users(
    tx: &mut Tx<'_>,
    changes: &[(Option<&UserRecord>, &UserRecord)],
) -> Result<(), ApiError> {
    let config = tx.pool()?;
    for (_, new) in changes {
        check_size(new)?;
    }
    let mut removed = BTreeMap::new();
    let mut added = BTreeMap::new();
    for (old, new) in changes {
        let before = old.map(|old| rows(&config, old)).unwrap_or_default();
        let after = rows(&config, new);
        for (key, row) in &before {
            if !after.contains_key(key) {
                removed.insert(key.clone(), row.clone());
            }
        }
        for (key, row) in after {
            if !before.contains_key(&key) {
                added.insert(key, row);
            }
        }
        match old {
            None => tx.put_new(keys::user(&new.sub), encoded(new), None),
            Some(_) => tx.put(keys::user(&new.sub), *new),
        }
    }
    for key in removed.keys().filter(|key| !added.contains_key(*key)) {
        tx.delete(key.clone());
    }
    for (key, row) in added {
        match row {
            // moves from one of the users to another, which their records' versions guard
            Row::Unique(value) if removed.contains_key(&key) => tx.put_bytes(key, value, None),
            Row::Unique(value) => tx.put_new(key, value, None),
            Row::Listed => tx.put_bytes(key, Bytes::new(), None),
        }
    }
    Ok(())
}

/// How many rows lead to `user`.
pub fn rows_of(config: &PoolConfig, user: &UserRecord) -> usize {
    rows(config, user).len()
}

/// Every attribute keeps its own limit, and fifty custom ones can still be more than a row holds.
fn check_size(user: &UserRecord) -> Result<(), ApiError> {
    if user.encoded_len() <= limits::VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(errors::invalid_parameter(format!(
        "The attributes of a user can have {} bytes together.",
        limits::VALUE_BYTES_MAX
    )))
}

/// Deletes a user with everything that belongs to it, and from the groups. The rows of
/// [`membership::key`] and [`passkeys::rows::key`] must have been loaded.
///
/// # Errors
/// InternalErrorException when it was not.
pub fn delete_user(tx: &mut Tx<'_>, user: &UserRecord) -> Result<(), ApiError> {
    let config = tx.pool()?;
    membership::leave_all(tx, &user.sub)?;
    passkeys::rows::delete_all_indexes(tx, &user.sub)?;
    tx.delete(keys::user(&user.sub));
    tx.delete_children(keys::user_children(&user.sub));
    for key in rows(&config, user).into_keys() {
        tx.delete(key);
    }
    tx.add(keys::user_count(), -1, None, None);
    Ok(())
}

#[derive(Clone)]
enum Row {
    /// Leads to one user.
    Unique(Bytes),
    /// One among many of its value.
    Listed,
}

/// The rows that lead to `user`.
fn rows(config: &PoolConfig, user: &UserRecord) -> BTreeMap<Vec<u8>, Row> {
    let sub = Bytes::copy_from_slice(user.sub.as_bytes());
    let mut rows = BTreeMap::new();
    let username = keys::username(&lookup::folded(config, &user.username));
    rows.insert(username, Row::Unique(sub.clone()));
    for alias in aliases::held(config, user) {
        rows.insert(alias.key(), Row::Unique(sub.clone()));
    }
    for link in &user.links {
        rows.insert(links::row(link), Row::Unique(sub.clone()));
    }
    for (indexed, attribute) in ATTRIBUTES {
        if let Some(value) = attributes::value(user, attribute) {
            let key = keys::user_attribute(indexed, &listed_value(indexed, value), &user.sub);
            rows.insert(key, Row::Listed);
        }
    }
    for (indexed, value) in [
        (IndexedAttribute::UserStatus, user.status.as_str()),
        (IndexedAttribute::Status, status_text(user.enabled)),
    ] {
        let key = keys::user_attribute(indexed, &listed_value(indexed, value), &user.sub);
        rows.insert(key, Row::Listed);
    }
    rows
}

/// A value as the rows of [`keys::user_attribute`] hold it: filters do not tell case apart, but for
/// `status`. Source: developer guide, "Searching for users using the ListUsers API".
pub fn listed_value(indexed: IndexedAttribute, value: &str) -> String {
    match indexed {
        IndexedAttribute::Status => value.to_owned(),
        _ => value.to_lowercase(),
    }
}

fn encoded(user: &UserRecord) -> Bytes {
    prost::Message::encode_to_vec(user).into()
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use conclave_store::records::UserRecord;

    use super::*;
    use crate::{
        tx::{Decision, Query, Transaction, transact},
        users::fixtures::{TestPool, alias_pool, refusal},
    };

    /// Writes a user without having looked who has the names.
    struct Careless<'a> {
        pool: &'a TestPool,
        user: UserRecord,
    }

    #[async_trait]
    impl Transaction for Careless<'_> {
        type Output = ();

        fn scope(&self) -> &str {
            &self.pool.id
        }

        async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
            tx.load(Query::new()).await?;
            write_user(tx, None, &self.user)?;
            Ok(().into())
        }
    }

    fn user(username: &str, preferred: &str) -> UserRecord {
        let mut user = UserRecord {
            sub: "01234567-89ab-4def-8123-456789abcdef".to_owned(),
            username: username.to_owned(),
            status: "CONFIRMED".to_owned(),
            ..Default::default()
        };
        attributes::set(&mut user, "preferred_username", preferred);
        user
    }

    #[tokio::test]
    async fn no_name_is_taken_from_another_by_who_did_not_look() {
        let pool = alias_pool().await;
        pool.sign_up("ada", &[("preferred_username", "boss")]).await.unwrap();
        for user in [user("ada", "chief"), user("eve", "boss")] {
            let careless = Careless { pool: &pool, user };
            assert_eq!(
                refusal(transact(&pool, &careless).await),
                "TooManyRequestsException: Too many requests"
            );
        }
        for name in ["ada", "boss"] {
            assert_eq!(pool.user(name).await.unwrap().username.as_deref(), Some("ada"));
        }
        let careless = Careless { pool: &pool, user: user("eve", "chief") };
        transact(&pool, &careless).await.unwrap();
        assert_eq!(pool.user("chief").await.unwrap().username.as_deref(), Some("eve"));
    }
}
