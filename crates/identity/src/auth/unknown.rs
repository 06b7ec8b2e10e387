//! Who does not exist, as a client is shown them that must not know (PreventUserExistenceErrors): like
//! a user of the same pool, the same one for ever.

use conclave_crypto::ids;

use crate::{
    config::PoolConfig,
    users::{contact, lookup},
};

/// The user name that a challenge shows for `name`, which no user has. A user who exists is shown by
/// the stored name: that is a UUID where users are called by an attribute, and what the app has
/// chosen, most often a UUID, where an address is an alias.
pub fn shown_name(config: &PoolConfig, name: &str) -> String {
    let folded = lookup::folded(config, name);
    let is_alias = !config.record.username_attributes.is_empty()
        || (config.signs_in_by("email") && contact::is_email(&folded))
        || (config.signs_in_by("phone_number") && contact::is_phone_number(&folded));
    if is_alias && ids::uuid_to_bytes(&folded).is_none() {
        config.fake_users.sub(&folded)
    } else {
        folded
    }
}
