//! A device as it is answered. Source: AWS CLI reference, the examples of get-device and admin-get-device.

use conclave_api::types;
use conclave_store::records::{DeviceRecord, PoolRecord};

/// Who asks: administrators are shown more.
#[derive(Clone, Copy)]
pub enum Shown<'a> {
    /// The user.
    ToUser,
    /// An administrator of the pool, with the user's name.
    ToAdmin(&'a PoolRecord, &'a str),
}

/// See the module.
pub fn describe(device: &DeviceRecord, shown: Shown<'_>) -> types::DeviceType {
    let mut attributes = vec![attribute("device_status", "valid")];
    if let Some(name) = &device.name {
        attributes.push(attribute("device_name", name));
    }
    if let Shown::ToAdmin(pool, username) = shown {
        let owner = format!("{username}.{}", pool.pool_id);
        let arn = format!(
            "arn:aws:cognito-idp:{}:{}:owner/{owner}/device/{}",
            pool.region, pool.account_id, device.device_key
        );
        let status = if device.remembered { "remembered" } else { "not_remembered" };
        attributes.push(attribute("dev:device_arn", &arn));
        attributes.push(attribute("dev:device_owner", &owner));
        attributes.push(attribute("dev:device_remembered_status", status));
    }
    types::DeviceType {
        device_key: Some(device.device_key.clone()),
        device_attributes: attributes,
        device_create_date: Some(device.created_ms),
        device_last_modified_date: Some(device.modified_ms),
        device_last_authenticated_date: Some(device.last_authenticated_ms),
    }
}

fn attribute(name: &str, value: &str) -> types::AttributeType {
    types::AttributeType { name: Some(name.to_owned()), value: Some(value.to_owned()) }
}
