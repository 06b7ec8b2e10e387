//! Sealing what rows hold: every box is bound to its scope, row and field, so that a box that is
//! moved elsewhere does not open.

use conclave_api::ApiError;
use conclave_crypto::{
    seal::{Keyring, Purpose},
    secret::SecretBytes,
};

use crate::{errors, world::World};

/// Where a sealed value stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The pool id, or the directory's scope.
    pub scope: &'a str,
    /// The relative key of the row.
    pub key: &'a [u8],
    /// The field of the record.
    pub field: &'a str,
}

impl Place<'_> {
    fn parts(&self) -> [&[u8]; 3] {
        [self.scope.as_bytes(), self.key, self.field.as_bytes()]
    }
}

/// Seals a field of a record.
///
/// # Errors
/// InternalErrorException when the keys cannot be used.
pub fn seal(
    world: &World,
    keyring: &Keyring,
    place: Place<'_>,
    plain: &[u8],
) -> Result<Vec<u8>, ApiError> {
    keyring
        .seal(Purpose::Record, &place.parts(), plain, &*world.entropy)
        .map_err(|_| errors::internal("a value could not be sealed"))
}

/// Opens a field of a record.
///
/// # Errors
/// InternalErrorException when the box was not made for this place, or its key is not known.
pub fn open(keyring: &Keyring, place: Place<'_>, sealed: &[u8]) -> Result<SecretBytes, ApiError> {
    keyring
        .open(Purpose::Record, &place.parts(), sealed)
        .map_err(|_| errors::internal("a sealed value does not open"))
}
