//! Aliases: which other names a user signs in by, who has them, and how they move.
//!
//! In a pool with UsernameAttributes every such attribute is a name from the start. In a pool with
//! AliasAttributes an e-mail address or phone number becomes one when it is verified; a preferred user
//! name is one as soon as it is set. One name leads to one user: the rows see to that under races.
//! Source: developer guide, "Customizing sign-in attributes".

use conclave_api::{ApiError, ExceptionName};
use conclave_store::{
    keys::{self, IndexedAttribute},
    records::UserRecord,
};

use super::{
    attributes::{self, Values},
    lookup::{self, ALIAS_ATTRIBUTES, NAME_BYTES_MAX},
};
use crate::{
    config::PoolConfig,
    tx::{Failure, Query, Stored, Tx},
};

/// A name that a user signs in by, beside the user name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The attribute that it is the value of.
    pub attribute: &'static str,
    /// The same, as keys have it.
    pub indexed: IndexedAttribute,
    /// As the pool compares it.
    pub folded: String,
}

impl Alias {
    /// The row that leads from this alias to its user.
    pub fn key(&self) -> Vec<u8> {
        keys::alias(self.indexed, &self.folded)
    }
}

/// The aliases that `user` has.
pub fn held(config: &PoolConfig, user: &UserRecord) -> Vec<Alias> {
    let mut held = Vec::new();
    for (indexed, attribute) in ALIAS_ATTRIBUTES {
        let Some(value) = attributes::value(user, attribute) else { continue };
        let named = |list: &[String]| list.iter().any(|name| name == attribute);
        let is_name = named(&config.record.username_attributes);
        let is_alias = named(&config.record.alias_attributes)
            && (indexed == IndexedAttribute::PreferredUsername
                || attributes::is_verified(user, attribute));
        if is_name || is_alias {
            held.push(Alias { attribute, indexed, folded: lookup::folded(config, value) });
        }
    }
    held
}

/// Adds to `query` who has the aliases that `values` may become.
#[must_use]
pub fn query(mut query: Query, values: &Values) -> Query {
    for (indexed, attribute) in ALIAS_ATTRIBUTES {
        let Some(value) = values.get(attribute) else { continue };
        if value.len() > NAME_BYTES_MAX {
            continue;
        }
        for form in lookup::forms(value) {
            query = query.follow(keys::alias(indexed, &form), &[keys::user_hop()]);
            if indexed == IndexedAttribute::PreferredUsername {
                query = query.get(keys::username(&form));
            }
        }
    }
    query
}

/// An alias that `user` is to have and another user has.
pub struct Taken {
    /// The alias.
    pub alias: Alias,
    /// The other user; `None` where it is that user's very user name.
    pub owner: Option<Stored<UserRecord>>,
}

impl Taken {
    /// Who has to give the alias up, and the flag that says so; `None` for a name, which is not taken
    /// from anybody.
    fn giver(&self, config: &PoolConfig) -> Option<(&UserRecord, &'static str)> {
        let flag = attributes::verified_flag(self.alias.attribute)?;
        let owner = &self.owner.as_ref()?.record;
        config.record.username_attributes.is_empty().then_some((owner, flag))
    }

    /// The refusal where a user is to be created, or an address confirmed.
    pub fn refusal(&self) -> ApiError {
        match self.alias.indexed {
            IndexedAttribute::PreferredUsername => ExceptionName::AliasExistsException
                .because("User account already exists for the alias."),
            _ => ExceptionName::AliasExistsException.because(self.text()),
        }
    }

    /// The refusal where the alias is the name that a new user is called by.
    pub fn username_refusal(&self) -> ApiError {
        match self.alias.indexed {
            IndexedAttribute::PreferredUsername => {
                ExceptionName::UsernameExistsException.because("User already exists")
            }
            _ => ExceptionName::UsernameExistsException.because(self.text()),
        }
    }

    fn text(&self) -> String {
        format!("An account with the given {} already exists.", self.alias.attribute)
    }
}

/// The users from whom aliases move: as they are, and without. The address stays theirs, and counts as
/// unverified.
///
/// # Errors
/// AliasExistsException without `force`, and where the name of a user would have to move.
pub fn moved(
    config: &PoolConfig,
    taken: &[Taken],
    force: bool,
    now_ms: i64,
) -> Result<Vec<(UserRecord, UserRecord)>, ApiError> {
    let mut moved: Vec<(UserRecord, UserRecord)> = Vec::new();
    for taken in taken {
        let giver = if force { taken.giver(config) } else { None };
        let (owner, flag) = giver.ok_or_else(|| taken.refusal())?;
        let known = moved.iter().position(|(known, _)| known.sub == owner.sub);
        let (_, mut without) = match known {
            Some(known) => moved.remove(known),
            None => (owner.clone(), owner.clone()),
        };
        attributes::set(&mut without, flag, "false");
        without.modified_ms = now_ms;
        moved.push((owner.clone(), without));
    }
    Ok(moved)
}

/// Gives `new` the aliases that `old`, the same user before, does not have. Answers what [`moved`] does.
/// Of the values in `loaded`, [`query`] has been loaded; others take a read more.
///
/// # Errors
/// As [`moved`]; the store's.
pub async fn take(
    tx: &mut Tx<'_>,
    config: &PoolConfig,
    (old, new): (&UserRecord, &UserRecord),
    loaded: &Values,
    force: bool,
) -> Result<Vec<(UserRecord, UserRecord)>, Failure> {
    let before = held(config, old);
    let mut gained = held(config, new);
    gained.retain(|alias| !before.contains(alias));
    let mut wanted = Values::new();
    for alias in &gained {
        let value = attributes::value(new, alias.attribute).unwrap_or_default();
        wanted.insert(alias.attribute.to_owned(), value.to_owned());
    }
    if wanted.iter().any(|(name, value)| loaded.get(name) != Some(value)) {
        tx.load(query(Query::new(), &wanted)).await?;
    }
    let taken = taken_of(tx, new, gained)?;
    Ok(moved(config, &taken, force, tx.now_ms())?)
}

/// The aliases of `user`, who is new, that others have. The rows of [`query`] must have been loaded. The
/// commit fails when what is found here has changed by then.
///
/// # Errors
/// InternalErrorException when a row cannot be decoded.
pub fn taken(
    tx: &mut Tx<'_>,
    config: &PoolConfig,
    user: &UserRecord,
) -> Result<Vec<Taken>, ApiError> {
    taken_of(tx, user, held(config, user))
}

/// As [`taken`], where it is enough to know which: the rows alone must have been loaded, and who has them is
/// not looked at.
pub fn taken_names(tx: &mut Tx<'_>, config: &PoolConfig, user: &UserRecord) -> Vec<Alias> {
    let mut taken = held(config, user);
    taken.retain(|alias| {
        let name = keys::username(&alias.folded);
        let is_name = alias.indexed == IndexedAttribute::PreferredUsername;
        if is_name {
            tx.rely_on(&name);
        }
        tx.get_text(&alias.key()).is_some() || (is_name && tx.get_text(&name).is_some())
    });
    taken
}

fn taken_of(
    tx: &mut Tx<'_>,
    user: &UserRecord,
    aliases: Vec<Alias>,
) -> Result<Vec<Taken>, ApiError> {
    let mut taken = Vec::new();
    for alias in aliases {
        if alias.indexed == IndexedAttribute::PreferredUsername {
            // the other name space: somebody's user name
            let key = keys::username(&alias.folded);
            tx.rely_on(&key);
            if tx.get_text(&key).is_some_and(|sub| sub != user.sub) {
                taken.push(Taken { alias, owner: None });
                continue;
            }
        }
        if let Some(sub) = tx.get_text(&alias.key()).filter(|sub| *sub != user.sub) {
            let owner = tx.get::<UserRecord>(&keys::user(&sub))?;
            taken.push(Taken { alias, owner });
        }
    }
    Ok(taken)
}
