//! The rows of devices, under their users.

use conclave_api::ApiError;
use conclave_crypto::srp::Verifier;
use conclave_store::{
    keys::{self, UserChild},
    records::{DeviceRecord, DeviceVerifier},
};
use prost::Message;
use zeroize::Zeroizing;

use crate::{
    config::PoolConfig,
    errors,
    sealed::{self, Place},
    tx::{Stored, Tx},
    users::lookup::{self, With},
};

/// Devices of one user; beyond that, those that have not signed in for longest are forgotten.
pub const PER_USER_MAX: u32 = 100;
/// API reference, DeviceKeyType.
const KEY_BYTES_MAX: usize = 55;

/// The row of a device. A key that no device can have leads to a row that there never is.
pub fn key(sub: &str, device_key: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::Device, part(device_key))
}

/// The prefix of every [`key`] of a user.
pub fn prefix(sub: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::Device, &[])
}

/// For a lookup of users: the device comes along.
pub fn with(device_key: &str) -> With<'_> {
    With::Child(UserChild::Device, part(device_key))
}

/// The parts of [`key`], for a `Follow`.
pub fn hop(device_key: &str) -> (Vec<u8>, Vec<u8>) {
    keys::user_child_hop(UserChild::Device, part(device_key))
}

fn part(device_key: &str) -> &[u8] {
    let bytes = device_key.as_bytes();
    // an empty part would be the prefix of all
    if bytes.is_empty() || bytes.len() > KEY_BYTES_MAX { b"-" } else { bytes }
}

/// A device of a user. Its row must have been loaded.
///
/// # Errors
/// `Device does not exist.`
pub fn find(tx: &Tx<'_>, sub: &str, device_key: &str) -> Result<Stored<DeviceRecord>, ApiError> {
    find_any(tx, sub, device_key)?.ok_or_else(not_found)
}

/// [`find`], for who goes on without.
///
/// # Errors
/// InternalErrorException when it cannot be decoded.
pub fn find_any(
    tx: &Tx<'_>,
    sub: &str,
    device_key: &str,
) -> Result<Option<Stored<DeviceRecord>>, ApiError> {
    lookup::child(tx, sub, UserChild::Device, part(device_key))
}

/// `Device does not exist.`
pub fn not_found() -> ApiError {
    ApiError::resource_not_found("Device does not exist.")
}

/// Writes a device. The user must exist when the commit takes effect.
pub fn put(tx: &mut Tx<'_>, sub: &str, device: &DeviceRecord) {
    tx.rely_on_root(keys::user(sub));
    tx.put(key(sub, &device.device_key), device);
}

/// Sets whether a device counts in a sign-in.
pub fn set_remembered(tx: &mut Tx<'_>, sub: &str, device: DeviceRecord, remembered: bool) {
    let changed = DeviceRecord { remembered, modified_ms: tx.now_ms(), ..device };
    put(tx, sub, &changed);
}

/// What `DeviceRememberedStatus` says.
///
/// # Errors
/// InvalidParameterException when nothing is said.
pub fn is_remembered(status: Option<&str>) -> Result<bool, ApiError> {
    match status {
        Some(status) => Ok(status == "remembered"),
        None => Err(errors::invalid_parameter("Missing required parameter DeviceRememberedStatus")),
    }
}

/// The sealed field of a device's record.
pub(crate) const VERIFIER: &str = "verifier";

/// Salt and verifier of a device, as it has made them.
pub struct DeviceSecret {
    /// As given.
    pub salt: Vec<u8>,
    /// What its password is proved against.
    pub verifier: Verifier,
}

/// Seals what a device has given, for its record.
///
/// # Errors
/// InternalErrorException when the pool's keys cannot be used.
pub fn seal_secret(
    tx: &Tx<'_>,
    config: &PoolConfig,
    sub: &str,
    device_key: &str,
    secret: &DeviceSecret,
) -> Result<Vec<u8>, ApiError> {
    let message = DeviceVerifier {
        salt: secret.salt.clone().into(),
        verifier: secret.verifier.to_bytes().expose().clone().into(),
    };
    let plain = Zeroizing::new(message.encode_to_vec());
    let row = key(sub, device_key);
    sealed::seal(tx.world(), &config.keyring, place(config, &row), &plain)
}

/// Opens what [`seal_secret`] has sealed.
///
/// # Errors
/// InternalErrorException when it does not open.
pub fn open_secret(
    config: &PoolConfig,
    sub: &str,
    device: &DeviceRecord,
) -> Result<DeviceSecret, ApiError> {
    let row = key(sub, &device.device_key);
    let plain = sealed::open(&config.keyring, place(config, &row), &device.sealed_verifier)?;
    let broken = || errors::internal("a device's verifier cannot be read");
    let message = DeviceVerifier::decode(plain.expose().as_slice()).map_err(|_| broken())?;
    let verifier = Verifier::from_bytes(&message.verifier).map_err(|_| broken())?;
    Ok(DeviceSecret { salt: message.salt.to_vec(), verifier })
}

fn place<'a>(config: &'a PoolConfig, row: &'a [u8]) -> Place<'a> {
    Place { scope: config.id(), key: row, field: VERIFIER }
}
