//! ConfirmDevice: a device takes the key that its sign-in was given, and leaves a verifier of its secret.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ConfirmDevice.html>

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::{encoding, srp::Verifier};
use conclave_store::{
    keys,
    records::{DeviceRecord, SessionRecord},
};
use prost::Message;

use super::rows::{self, DeviceSecret};
use crate::{
    auth::{
        access_token::{PresentedToken, session_key},
        tokens,
    },
    call::Call,
    errors,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::token_user,
    world::World,
};

/// What clients make is 16 bytes, and a sign for the number.
const SALT_BYTES_MAX: usize = 64;

/// Answers ConfirmDevice. One read and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn confirm_device(
    world: &World,
    _call: &Call,
    input: types::ConfirmDeviceRequest,
) -> Result<types::ConfirmDeviceResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    transact(world, &ConfirmDevice { token, input: &input }).await
}

struct ConfirmDevice<'a> {
    token: PresentedToken<'a>,
    input: &'a types::ConfirmDeviceRequest,
}

#[async_trait]
impl Transaction for ConfirmDevice<'_> {
    type Output = types::ConfirmDeviceResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let device_key = self.input.device_key.as_deref().unwrap_or_default();
        let row = rows::key(self.token.sub(), device_key);
        let query = Query::new().get(row.clone()).scan(
            rows::prefix(self.token.sub()),
            Vec::new(),
            rows::PER_USER_MAX + 1,
        );
        let (user, _) = token_user::load(tx, &self.token, query).await?;
        if self.token.device_key() != Some(device_key) {
            return Err(errors::invalid_parameter("Invalid device key given.").into());
        }
        if tx.get_bytes(&row).is_some() {
            return Err(ExceptionName::DeviceKeyExistsException
                .because("Device key already exists.")
                .into());
        }
        let secret = secret(self.input.device_secret_verifier_config.as_ref())?;
        let config = tx.pool()?;
        let settings = config.record.device_configuration.unwrap_or_default();
        let asks_user = settings.only_remembered_on_user_prompt.unwrap_or(false);
        let now_ms = tx.now_ms();
        let device = DeviceRecord {
            device_key: device_key.to_owned(),
            name: self.input.device_name.clone(),
            created_ms: now_ms,
            modified_ms: now_ms,
            last_authenticated_ms: now_ms,
            remembered: !asks_user,
            sealed_verifier: rows::seal_secret(tx, &config, &user.sub, device_key, &secret)?.into(),
        };
        tx.rely_on_root(keys::user(&user.sub));
        make_room(tx, &user.sub);
        tx.put_new(row, device.encode_to_vec().into(), None);
        self.bind_session(tx, &user.sub)?;
        Ok(types::ConfirmDeviceResponse { user_confirmation_necessary: Some(asks_user) }.into())
    }
}

impl ConfirmDevice<'_> {
    /// From now on the session is that of the device: its refresh token is good for nobody who does not
    /// name it.
    fn bind_session(&self, tx: &mut Tx<'_>, sub: &str) -> Result<(), ApiError> {
        let Some(origin_jti) = self.token.origin_jti() else { return Ok(()) };
        let session = tx.get::<SessionRecord>(&session_key(sub, origin_jti))?;
        let Some(mut session) = session.map(|stored| stored.record) else { return Ok(()) };
        session.is_device_confirmed = true;
        tokens::put_session(tx, sub, &session);
        Ok(())
    }
}

/// Forgets the devices that have not signed in for longest, where there are too many.
fn make_room(tx: &mut Tx<'_>, sub: &str) {
    let prefix = rows::prefix(sub);
    let mut devices: Vec<(i64, Bytes)> = tx
        .loaded_under(&prefix)
        .map(|(key, value)| {
            // one that cannot be read is as good as none
            let device = DeviceRecord::decode(value.clone()).unwrap_or_default();
            (device.last_authenticated_ms, key.clone())
        })
        .collect();
    devices.sort();
    let surplus = (devices.len() + 1).saturating_sub(rows::PER_USER_MAX as usize);
    for (_, key) in devices.into_iter().take(surplus) {
        tx.delete(key.to_vec());
    }
}

/// Salt and verifier, in base64.
fn secret(given: Option<&types::DeviceSecretVerifierConfigType>) -> Result<DeviceSecret, ApiError> {
    let invalid = || errors::invalid_parameter("Invalid device secret verifier config given.");
    let decode = |text: Option<&String>| encoding::base64_decode(text?);
    let salt = given.and_then(|given| decode(given.salt.as_ref())).ok_or_else(invalid)?;
    let verifier =
        given.and_then(|given| decode(given.password_verifier.as_ref())).ok_or_else(invalid)?;
    if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
        return Err(invalid());
    }
    // a verifier that every password fits is none
    let verifier = Verifier::from_bytes(&verifier).map_err(|_| invalid())?;
    Ok(DeviceSecret { salt, verifier })
}
