//! Devices of users: where one of them signs in, it is given a key, which it confirms with a secret of its
//! own; from then on it can prove, beside the password, that it is that device ([`device_auth`](crate::auth::device_auth)).
//! One file for each operation, and the rows in [`rows`].
//!
//! Source: developer guide, "Working with user devices in your user pool".

mod admin_forget_device;
mod admin_get_device;
mod admin_list_devices;
mod admin_update_device_status;
mod confirm_device;
mod describe;
mod forget_device;
mod get_device;
mod list_devices;
pub mod rows;
mod update_device_status;

pub use admin_forget_device::admin_forget_device;
pub use admin_get_device::admin_get_device;
pub use admin_list_devices::admin_list_devices;
pub use admin_update_device_status::admin_update_device_status;
pub use confirm_device::confirm_device;
pub use forget_device::forget_device;
pub use get_device::get_device;
pub use list_devices::list_devices;
pub use update_device_status::update_device_status;

use conclave_api::types;
use conclave_crypto::{encoding, mac};
use conclave_store::records::DeviceConfiguration;

use crate::config::PoolConfig;

/// Items in a page, at most and by default. Source: API reference, QueryLimitType.
const LIMIT_MAX: u32 = 60;

/// How many items a request asks for; 0 is as good as nothing said.
fn limit(given: Option<i32>) -> u32 {
    let given = given.and_then(|limit| u32::try_from(limit).ok()).filter(|limit| *limit > 0);
    given.unwrap_or(LIMIT_MAX).min(LIMIT_MAX)
}

/// What a pool keeps of its DeviceConfiguration. Source: API reference, DeviceConfigurationType: any value
/// switches it on.
pub fn settings(given: &types::DeviceConfigurationType) -> Option<DeviceConfiguration> {
    let settings = DeviceConfiguration {
        challenge_required_on_new_device: given.challenge_required_on_new_device,
        only_remembered_on_user_prompt: given.device_only_remembered_on_user_prompt,
    };
    (settings != DeviceConfiguration::default()).then_some(settings)
}

/// A pool's DeviceConfiguration as it is answered.
pub fn describe_settings(settings: &DeviceConfiguration) -> types::DeviceConfigurationType {
    types::DeviceConfigurationType {
        challenge_required_on_new_device: Some(
            settings.challenge_required_on_new_device.unwrap_or(false),
        ),
        device_only_remembered_on_user_prompt: Some(
            settings.only_remembered_on_user_prompt.unwrap_or(false),
        ),
    }
}

/// `DeviceGroupKey`: what the SRP of devices takes in the place of the pool's name. It is in verifiers
/// that devices have made, so it stays what it is for as long as there is the pool.
pub fn group_key(config: &PoolConfig) -> String {
    const LENGTH: usize = 8;
    let digest = mac::sha256(&[b"device group\0", config.id().as_bytes()]);
    format!("-{}", &encoding::base64url(digest)[..LENGTH])
}

/// The key of a device whose random part is `uuid`. API reference, DeviceKeyType: `Region_UUID`, of 55
/// characters at most.
pub fn device_key(config: &PoolConfig, uuid: &str) -> String {
    const REGION_MAX: usize = 18;
    let region = config.record.region.get(..REGION_MAX).unwrap_or(&config.record.region);
    format!("{region}_{uuid}")
}
