//! Changes of a user's attributes: what may be changed, and what a change means for the flags that say
//! which addresses are verified.
//! Sources: developer guide, "Working with user attributes"; API reference, UpdateUserAttributes,
//! AdminUpdateUserAttributes. The texts about single attributes, with the line's end, are Cognito's.

use std::collections::BTreeMap;

use conclave_api::{ApiError, types::AttributeType};
use conclave_outbound::Channel;
use conclave_store::records::UserRecord;

use super::{
    attributes::{self, VERIFIED_FLAGS, Values},
    codes::{self, CodePurpose, Limited},
    delivery::{self, Destination},
    username,
};
use crate::{
    config::PoolConfig,
    errors,
    pools::schema,
    triggers::custom_message::{self, Reason},
    tx::Tx,
};

/// New values by name; none takes the attribute away.
pub type Changes = BTreeMap<String, Option<String>>;

/// The changes of a request. Of a name that is given twice the last value counts, and an empty value
/// takes the attribute away.
///
/// # Errors
/// InvalidParameterException for a name without a value.
pub fn collect(given: &[AttributeType]) -> Result<Changes, ApiError> {
    let mut changes: Changes =
        given.iter().filter_map(|attribute| Some((attribute.name.clone()?, None))).collect();
    for (name, value) in attributes::collect(given)? {
        changes.insert(name, Some(value));
    }
    Ok(changes)
}

/// Takes all of these away.
pub fn removals(names: &[String]) -> Changes {
    names.iter().map(|name| (name.clone(), None)).collect()
}

/// The values that are set.
pub fn values(changes: &Changes) -> Values {
    let set = changes.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    set.collect()
}

/// What changes come to.
pub struct Applied {
    /// The user after the changes.
    pub user: UserRecord,
    /// New addresses that have to be verified before they are the user's.
    pending: Vec<Destination>,
}

impl Applied {
    /// The user as it would be with the pending addresses, to see whether somebody has them as names.
    pub fn expected(&self) -> UserRecord {
        let mut expected = self.user.clone();
        for pending in &self.pending {
            attributes::set(&mut expected, pending.attribute, &pending.address);
            if let Some(flag) = attributes::verified_flag(pending.attribute) {
                attributes::set(&mut expected, flag, "false");
            }
        }
        expected
    }

    /// Sends codes to new addresses: to those that are pending, and to those that the pool verifies by
    /// itself and that are not verified. A code that was sent to an address that is the user's no more
    /// is void. How often codes are sent in an hour is limited: the addresses can be anybody's.
    ///
    /// # Errors
    /// InternalErrorException when the pool's keys cannot be used.
    pub fn send_codes(
        &self,
        tx: &mut Tx<'_>,
        config: &PoolConfig,
        old: &UserRecord,
        limited: Limited,
    ) -> Result<Vec<Destination>, ApiError> {
        let new = &self.user;
        let mut sent = Vec::new();
        for channel in [Channel::Sms, Channel::Email] {
            let attribute = delivery::attribute_of(channel);
            let purpose = CodePurpose::verify(channel);
            let pending = self.pending.iter().find(|pending| pending.channel == channel);
            let changed = attributes::value(old, attribute) != attributes::value(new, attribute);
            let due = changed
                && delivery::is_auto_verified(config, channel)
                && !attributes::is_verified(new, attribute);
            let (destination, code) = if let Some(pending) = pending {
                (pending.clone(), codes::issue_pending(tx, new, pending)?)
            } else if let Some(destination) = delivery::to(new, channel).filter(|_| due) {
                let code = codes::issue(tx, new, purpose, &destination)?;
                (destination, code)
            } else {
                if changed {
                    tx.delete(codes::key(&new.sub, purpose));
                }
                continue;
            };
            let message = delivery::verification(config, new, &destination, &code);
            tx.send(custom_message::draft(tx, Reason::UpdateUserAttribute, new, message, None)?);
            sent.push(destination);
        }
        if !sent.is_empty() {
            codes::count(tx, &new.sub, limited);
        }
        Ok(sent)
    }
}

/// The user after the changes. An address that is new counts as unverified unless the changes say
/// otherwise, and is pending where the pool wants it verified first.
///
/// # Errors
/// InvalidParameterException for what the pool's schema does not have, does not let change, or does
/// not let be without.
pub fn apply(
    config: &PoolConfig,
    user: &UserRecord,
    changes: &Changes,
    now_ms: i64,
) -> Result<Applied, ApiError> {
    for name in changes.keys() {
        let attribute = schema::find(&config.record, name).ok_or_else(|| {
            errors::invalid_parameter(format!(
                "user.{name}: Attribute does not exist in the schema.\n"
            ))
        })?;
        if !attribute.mutable {
            return Err(errors::invalid_parameter(format!(
                "user.{name}: Attribute cannot be updated.\n"
            )));
        }
    }
    attributes::check_removable(&config.record, |name| changes.get(name) == Some(&None))?;
    let mut values = values(changes);
    attributes::check_schema(&config.record, &mut values, false)?;
    username::check_preferred(config, &values)?;

    let mut pending = Vec::new();
    for channel in [Channel::Sms, Channel::Email] {
        let attribute = delivery::attribute_of(channel);
        let flag = attributes::verified_flag(attribute).unwrap_or_default();
        let is_new =
            values.get(attribute).map(String::as_str) != attributes::value(user, attribute);
        let vouched_for = values.get(flag).is_some_and(|verified| verified == "true");
        if is_new
            && !vouched_for
            && config
                .record
                .attributes_require_verification_before_update
                .iter()
                .any(|a| a == attribute)
            && let Some(address) = values.remove(attribute)
        {
            pending.push(Destination { attribute, channel, address });
        }
    }

    let mut changed = user.clone();
    for name in changes.keys() {
        if pending.iter().any(|pending| pending.attribute == name) {
            continue;
        }
        match values.get(name) {
            Some(value) => attributes::set(&mut changed, name, value),
            None => attributes::remove(&mut changed, name),
        }
    }
    for (attribute, flag) in VERIFIED_FLAGS {
        let address = attributes::value(&changed, attribute);
        if address.is_none() {
            if values.contains_key(flag) {
                return Err(nothing_to_verify(attribute));
            }
            attributes::remove(&mut changed, flag);
        } else if address != attributes::value(user, attribute) && !values.contains_key(flag) {
            attributes::set(&mut changed, flag, "false");
        }
    }
    changed.modified_ms = now_ms;
    Ok(Applied { user: changed, pending })
}

/// A flag says something of an address, and there is none.
fn nothing_to_verify(attribute: &str) -> ApiError {
    errors::invalid_parameter(match attribute {
        "email" => "Email is required to verify/un-verify an email",
        _ => "Phone Number is required to verify/un-verify a phone number",
    })
}
