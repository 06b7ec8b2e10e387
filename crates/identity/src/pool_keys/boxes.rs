//! Which rows of a pool hold what its keys have sealed, in one place. Whoever seals something in another row adds it
//! here; the test of this module finds what is missing.

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::seal::sealed_version;
use conclave_store::{
    keys::{self, Tag, UserChild},
    records::{
        ClientRecord, CodeRecord, DeviceRecord, PasswordHistoryRecord, ProviderDetailsRecord,
        SamlKeyRecord, SigningKeyRecord, SoftwareTokenRecord,
    },
};
use prost::Message;

use crate::{
    auth::software_token,
    config::PoolConfig,
    devices::rows,
    errors, saml_key,
    sealed::{self, Place},
    signing_keys,
    tx::{Stored, Tx},
    users::{credentials, password_history},
    world::World,
};

/// Where such rows are, beside the pool's keys themselves. They are gone over in this order.
pub(super) const TAGS: [Tag; 6] = [
    Tag::SigningKey,
    Tag::Client,
    Tag::UserChild,
    Tag::ProviderDetails,
    Tag::SamlKey,
    Tag::UserImportChunk,
];

/// What becomes of a row.
pub(super) enum Found {
    /// Nothing in it needs an older version of the pool's key.
    Nothing,
    /// It was sealed again, and has to be written.
    Resealed {
        /// Its new value.
        value: Bytes,
        /// Gateways may remember it.
        is_configuration: bool,
    },
    /// It needs an older version, cannot be made anew without what only its owner knows, and expires within days.
    Passing,
}

/// Seals the boxes of one row again.
pub(crate) struct Resealing<'a> {
    world: &'a World,
    config: &'a PoolConfig,
    key: &'a [u8],
    changed: bool,
}

impl Resealing<'_> {
    /// Seals a box again, unless it is empty or of the present version.
    ///
    /// # Errors
    /// InternalErrorException when it does not open: it is left as it is.
    pub(crate) fn field(&mut self, field: &str, sealed: &mut Bytes) -> Result<(), ApiError> {
        let keyring = &self.config.keyring;
        if sealed.is_empty() || sealed_version(sealed) == Some(keyring.current()) {
            return Ok(());
        }
        let place = Place { scope: self.config.id(), key: self.key, field };
        let open = sealed::open(keyring, place, sealed)?;
        *sealed = sealed::seal(self.world, keyring, place, open.expose())?.into();
        self.changed = true;
        Ok(())
    }
}

/// Seals what a loaded row holds again.
///
/// # Errors
/// InternalErrorException when something in it does not open.
pub(super) fn reseal(
    tx: &Tx<'_>,
    config: &PoolConfig,
    key: &[u8],
    value: &Bytes,
) -> Result<Found, ApiError> {
    let current = config.keyring.current();
    let row = Row { tx, config, key };
    let is = |tag: Tag| key.first() == Some(&(tag as u8));
    let of_user = |child: UserChild| keys::user_child_kind(key) == Some(child as u8);
    if is(Tag::SigningKey) {
        return row.configuration(|to, stored: &mut Stored<SigningKeyRecord>| {
            to.field(signing_keys::PRIVATE_KEY, &mut stored.record.sealed_private_key)
        });
    }
    if is(Tag::Client) {
        return row.configuration(|to, stored: &mut Stored<ClientRecord>| {
            stored.record.secrets.iter_mut().try_for_each(|s| to.field(&s.id, &mut s.sealed))
        });
    }
    if is(Tag::ProviderDetails) {
        return row.configuration(|to, stored: &mut Stored<ProviderDetailsRecord>| {
            to.field("details", &mut stored.record.sealed)
        });
    }
    if is(Tag::SamlKey) {
        return row.configuration(|to, stored: &mut Stored<SamlKeyRecord>| {
            to.field(saml_key::PRIVATE_KEY, &mut stored.record.sealed_private_key)
        });
    }
    if is(Tag::UserImportChunk) {
        return Ok(passing(sealed_version(value) != Some(current)));
    }
    if of_user(UserChild::Credentials) {
        return row.data(credentials::reseal);
    }
    if of_user(UserChild::PasswordHistory) {
        return row.data(|to, stored: &mut Stored<PasswordHistoryRecord>| {
            let mut hashes = stored.record.sealed_password_hashes.iter_mut();
            hashes.try_for_each(|hash| to.field(password_history::PASSWORD_HASH, hash))
        });
    }
    if of_user(UserChild::SoftwareToken) {
        return row.data(|to, stored: &mut Stored<SoftwareTokenRecord>| {
            to.field(software_token::SEED, &mut stored.record.sealed_seed)?;
            to.field(software_token::PENDING_SEED, &mut stored.record.sealed_pending_seed)
        });
    }
    if of_user(UserChild::Device) {
        return row.data(|to, stored: &mut Stored<DeviceRecord>| {
            to.field(rows::VERIFIER, &mut stored.record.sealed_verifier)
        });
    }
    if of_user(UserChild::Code) {
        let code = CodeRecord::decode(value.clone());
        let mac = code.map_err(|_| errors::internal("a stored record cannot be decoded"))?.code_mac;
        // a MAC begins with the version of its key; without one nothing is left to check
        return Ok(passing(mac.first_chunk().is_some_and(|v| u32::from_be_bytes(*v) != current)));
    }
    // the sealed session of UserChild::DeviceChallenge is one that clients hold as well: it is over long before
    Ok(Found::Nothing)
}

fn passing(is_old: bool) -> Found {
    if is_old { Found::Passing } else { Found::Nothing }
}

struct Row<'a, 'w> {
    tx: &'a Tx<'w>,
    config: &'a PoolConfig,
    key: &'a [u8],
}

impl Row<'_, '_> {
    fn configuration<R: Message + Default>(
        &self,
        change: impl FnOnce(&mut Resealing<'_>, &mut Stored<R>) -> Result<(), ApiError>,
    ) -> Result<Found, ApiError> {
        self.change(true, change)
    }

    fn data<R: Message + Default>(
        &self,
        change: impl FnOnce(&mut Resealing<'_>, &mut Stored<R>) -> Result<(), ApiError>,
    ) -> Result<Found, ApiError> {
        self.change(false, change)
    }

    fn change<R: Message + Default>(
        &self,
        is_configuration: bool,
        change: impl FnOnce(&mut Resealing<'_>, &mut Stored<R>) -> Result<(), ApiError>,
    ) -> Result<Found, ApiError> {
        let Some(mut stored) = self.tx.get::<R>(self.key)? else { return Ok(Found::Nothing) };
        let (world, config, key) = (self.tx.world(), self.config, self.key);
        let mut resealing = Resealing { world, config, key, changed: false };
        change(&mut resealing, &mut stored)?;
        if !resealing.changed {
            return Ok(Found::Nothing);
        }
        Ok(Found::Resealed { value: stored.record.encode_to_vec().into(), is_configuration })
    }
}
