//! Devices: the keys that sign-ins give them, what becomes of them, and how they prove themselves.

mod operations;
mod second_factor;
mod sign_in;

use super::*;
use crate::devices;

const NO_DEVICE: &str = "ResourceNotFoundException: Device does not exist.";
const INVALID_SESSION: &str = "NotAuthorizedException: Invalid session for the user.";
const USED: &str =
    "NotAuthorizedException: Invalid session for the user, session can only be used once.";
const INVALID_REFRESH: &str = "NotAuthorizedException: Invalid Refresh Token";

/// What a device remembers of itself.
#[derive(Clone)]
struct Device {
    key: String,
    group: String,
    password: String,
}

fn salt() -> Vec<u8> {
    (1..17).collect()
}

/// A pool that tracks devices.
async fn tracking(asks_user: bool) -> Fixture {
    tracking_with(asks_user, true).await
}

/// A pool that tracks devices, and whether one that is remembered stands for a second factor.
async fn tracking_with(asks_user: bool, suffices: bool) -> Fixture {
    Fixture::with(types::CreateUserPoolRequest {
        device_configuration: Some(types::DeviceConfigurationType {
            challenge_required_on_new_device: Some(suffices),
            device_only_remembered_on_user_prompt: Some(asks_user),
        }),
        ..Default::default()
    })
    .await
}

fn new_device(tokens: &types::AuthenticationResultType) -> Device {
    let metadata = tokens.new_device_metadata.clone().expect("a key for the device");
    Device {
        key: metadata.device_key.unwrap(),
        group: metadata.device_group_key.unwrap(),
        password: "a secret of the device".to_owned(),
    }
}

impl Device {
    fn verifier(&self) -> types::DeviceSecretVerifierConfigType {
        let password = self.password.as_bytes();
        let verifier = srp_math::compute_verifier(&self.group, &self.key, password, &salt());
        types::DeviceSecretVerifierConfigType {
            salt: Some(encoding::base64(salt())),
            password_verifier: Some(encoding::base64(verifier.unwrap().to_bytes().expose())),
        }
    }
}

impl Fixture {
    async fn confirm(
        &self,
        token: &str,
        device: &Device,
    ) -> Result<types::ConfirmDeviceResponse, ApiError> {
        let request = types::ConfirmDeviceRequest {
            access_token: Some(token.to_owned()),
            device_key: Some(device.key.clone()),
            device_name: Some("a telephone".to_owned()),
            device_secret_verifier_config: Some(device.verifier()),
        };
        self.send_confirm(request).await
    }

    async fn send_confirm(
        &self,
        request: types::ConfirmDeviceRequest,
    ) -> Result<types::ConfirmDeviceResponse, ApiError> {
        let result = devices::confirm_device(&self.world, &unsigned_call(), request).await;
        declared("ConfirmDevice", result)
    }

    /// Signs in on a new device and confirms it.
    async fn device(&self, username: &str) -> (Device, types::AuthenticationResultType) {
        let tokens = self.tokens(username).await;
        let device = new_device(&tokens);
        self.confirm(access(&tokens), &device).await.expect("confirms");
        self.store.take_trips();
        (device, tokens)
    }

    async fn get_device(&self, token: &str, key: &str) -> Result<types::DeviceType, ApiError> {
        let request = types::GetDeviceRequest {
            access_token: Some(token.to_owned()),
            device_key: Some(key.to_owned()),
        };
        let result = devices::get_device(&self.world, &unsigned_call(), request).await;
        Ok(declared("GetDevice", result)?.device.expect("answers it"))
    }

    async fn list_devices(
        &self,
        token: &str,
        limit: Option<i32>,
        page: Option<String>,
    ) -> Result<types::ListDevicesResponse, ApiError> {
        let request = types::ListDevicesRequest {
            access_token: Some(token.to_owned()),
            limit,
            pagination_token: page,
        };
        let result = devices::list_devices(&self.world, &unsigned_call(), request).await;
        declared("ListDevices", result)
    }

    async fn set_remembered(&self, token: &str, key: &str, status: &str) -> Result<(), ApiError> {
        let request = types::UpdateDeviceStatusRequest {
            access_token: Some(token.to_owned()),
            device_key: Some(key.to_owned()),
            device_remembered_status: Some(status.to_owned()),
        };
        let result = devices::update_device_status(&self.world, &unsigned_call(), request).await;
        declared("UpdateDeviceStatus", result).map(|_| ())
    }

    async fn forget(&self, token: &str, key: &str) -> Result<(), ApiError> {
        let request = types::ForgetDeviceRequest {
            access_token: Some(token.to_owned()),
            device_key: Some(key.to_owned()),
        };
        let result = devices::forget_device(&self.world, &unsigned_call(), request).await;
        declared("ForgetDevice", result).map(|_| ())
    }

    async fn sign_in_on(
        &self,
        username: &str,
        password: &str,
        key: &str,
    ) -> Result<types::InitiateAuthResponse, ApiError> {
        let parameters = [("USERNAME", username), ("PASSWORD", password), ("DEVICE_KEY", key)];
        self.initiate(&self.client_id, "USER_PASSWORD_AUTH", &parameters).await
    }

    /// The session of DEVICE_SRP_AUTH.
    async fn device_session(&self, username: &str, device: &Device) -> String {
        let response = self.sign_in_on(username, PASSWORD, &device.key).await.expect("goes on");
        assert_eq!(response.challenge_name.as_deref(), Some("DEVICE_SRP_AUTH"));
        assert!(response.authentication_result.is_none());
        self.store.take_trips();
        response.session.expect("has a session")
    }

    async fn answer_device_srp(
        &self,
        session: &str,
        username: &str,
        key: &str,
    ) -> Result<Challenge, ApiError> {
        let client = client::Session::with_private(&[9; 32]).expect("computes");
        let public = client.public_hex();
        let responses = map(&[("USERNAME", username), ("DEVICE_KEY", key), ("SRP_A", &public)]);
        let response =
            self.respond(&self.client_id, "DEVICE_SRP_AUTH", Some(session), responses).await?;
        assert_eq!(response.challenge_name.as_deref(), Some("DEVICE_PASSWORD_VERIFIER"));
        Ok(Challenge { session: client, parameters: response.challenge_parameters })
    }

    /// What a device answers to DEVICE_PASSWORD_VERIFIER.
    fn device_claim(&self, challenge: &Challenge, device: &Device) -> BTreeMap<String, String> {
        let timestamp = self.timestamp();
        let parameters = client::Challenge {
            srp_b: challenge.get("SRP_B"),
            salt: challenge.get("SALT"),
            secret_block: challenge.get("SECRET_BLOCK"),
            user_id: &device.key,
        };
        let password = device.password.as_bytes();
        let signature = challenge.session.answer(&device.group, password, &parameters, &timestamp);
        map(&[
            ("USERNAME", challenge.get("USERNAME")),
            ("DEVICE_KEY", &device.key),
            ("PASSWORD_CLAIM_SECRET_BLOCK", challenge.get("SECRET_BLOCK")),
            ("PASSWORD_CLAIM_SIGNATURE", &signature.expect("computes")),
            ("TIMESTAMP", &timestamp),
        ])
    }

    async fn answer_device(
        &self,
        claim: BTreeMap<String, String>,
    ) -> Result<types::AuthenticationResultType, ApiError> {
        let challenge = "DEVICE_PASSWORD_VERIFIER";
        let response = self.respond(&self.client_id, challenge, None, claim).await?;
        Ok(response.authentication_result.expect("answers tokens"))
    }

    /// The whole sign-in of a device that is remembered.
    async fn on_device(
        &self,
        username: &str,
        device: &Device,
    ) -> Result<types::AuthenticationResultType, ApiError> {
        let session = self.device_session(username, device).await;
        let challenge = self.answer_device_srp(&session, username, &device.key).await?;
        self.answer_device(self.device_claim(&challenge, device)).await
    }

    async fn refresh_on(
        &self,
        token: &str,
        key: Option<&str>,
    ) -> Result<types::AuthenticationResultType, ApiError> {
        let mut parameters = vec![("REFRESH_TOKEN", token)];
        parameters.extend(key.map(|key| ("DEVICE_KEY", key)));
        let response = self.initiate(&self.client_id, "REFRESH_TOKEN_AUTH", &parameters).await?;
        Ok(response.authentication_result.expect("answers tokens"))
    }
}
