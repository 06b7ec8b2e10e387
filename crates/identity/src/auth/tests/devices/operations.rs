//! What users and administrators do with devices.

use super::*;

#[tokio::test]
async fn a_pool_that_does_not_track_devices_gives_no_keys() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let response = pool.sign_in_on("ada", PASSWORD, "us-east-1_0").await.unwrap();
    let tokens = response.authentication_result.unwrap();
    assert_eq!(tokens.new_device_metadata, None);
    assert!(!claims(access(&tokens)).contains_key("device_key"));
    let device =
        Device { key: "us-east-1_0".to_owned(), group: "-g".to_owned(), password: "p".to_owned() };
    assert_eq!(
        refusal(pool.confirm(access(&tokens), &device).await),
        "InvalidParameterException: Invalid device key given."
    );
    assert_eq!(refusal(pool.get_device(access(&tokens), "us-east-1_0").await), NO_DEVICE);
    assert_eq!(pool.list_devices(access(&tokens), None, None).await.unwrap().devices, []);
}

#[tokio::test]
async fn a_sign_in_on_a_new_device_gives_it_a_key() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    let (first, second) = (pool.tokens("ada").await, pool.tokens("ada").await);
    let (device, other) = (new_device(&first), new_device(&second));
    assert_ne!(device.key, other.key);
    assert_eq!(device.group, other.group);
    let uuid = device.key.strip_prefix("us-east-1_").expect("begins with the region");
    assert!(conclave_crypto::ids::uuid_to_bytes(uuid).is_some());
    assert!(device.group.len() == 9 && device.group.starts_with('-'), "{}", device.group);
    let access_claims = claims(access(&first));
    assert_eq!(access_claims["device_key"], device.key.as_str());
    assert_eq!(names(&access_claims).split(' ').nth(1), Some("device_key"));
    assert!(!claims(id(&first)).contains_key("device_key"));
    // the key stays with the session
    let renewed = pool.refresh(&pool.client_id, refresh_token(&first)).await.unwrap();
    assert_eq!(claims(access(&renewed))["device_key"], device.key.as_str());
}

#[tokio::test]
async fn a_device_is_confirmed_and_described() {
    for asks_user in [false, true] {
        let pool = tracking(asks_user).await;
        pool.user("ada", &[]).await;
        let tokens = pool.tokens("ada").await;
        let device = new_device(&tokens);
        assert_eq!(refusal(pool.get_device(access(&tokens), &device.key).await), NO_DEVICE);
        pool.advance(5);
        pool.store.take_trips();
        let confirmed = pool.confirm(access(&tokens), &device).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(confirmed.user_confirmation_necessary, Some(asks_user));
        let described = pool.get_device(access(&tokens), &device.key).await.unwrap();
        let now_ms = Some(pool.clock.now_ms());
        assert_eq!(described.device_key.as_deref(), Some(device.key.as_str()));
        assert_eq!(described.device_create_date, now_ms);
        assert_eq!(described.device_last_modified_date, now_ms);
        assert_eq!(described.device_last_authenticated_date, now_ms);
        assert_eq!(
            described.device_attributes,
            attributes(&[("device_status", "valid"), ("device_name", "a telephone")])
        );
        assert_eq!(
            refusal(pool.confirm(access(&tokens), &device).await),
            "DeviceKeyExistsException: Device key already exists."
        );
    }
}

#[tokio::test]
async fn only_the_key_of_one_s_own_sign_in_is_confirmed() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    pool.user("eve", &[]).await;
    let (ada, other, eve) =
        (pool.tokens("ada").await, pool.tokens("ada").await, pool.tokens("eve").await);
    let device = new_device(&ada);
    for tokens in [&other, &eve] {
        assert_eq!(
            refusal(pool.confirm(access(tokens), &device).await),
            "InvalidParameterException: Invalid device key given."
        );
    }
    let invalid = "InvalidParameterException: Invalid device secret verifier config given.";
    let good = device.verifier();
    let with = |salt: Option<&str>, verifier: Option<&str>| {
        Some(types::DeviceSecretVerifierConfigType {
            salt: salt.map(str::to_owned),
            password_verifier: verifier.map(str::to_owned),
        })
    };
    let (salt, verifier) = (good.salt.as_deref(), good.password_verifier.as_deref());
    let modulus = encoding::base64([0xff; 384]);
    for config in [
        None,
        with(None, None),
        with(salt, None),
        with(None, verifier),
        with(Some(""), verifier),
        with(Some("not base64"), verifier),
        with(Some(&encoding::base64([1; 65])), verifier),
        with(salt, Some("")),
        with(salt, Some("AA==")),
        with(salt, Some("AQ==")),
        with(salt, Some(&modulus)),
        with(salt, Some(&"A".repeat(100_000))),
    ] {
        let request = types::ConfirmDeviceRequest {
            access_token: Some(access(&ada).to_owned()),
            device_key: Some(device.key.clone()),
            device_secret_verifier_config: config,
            ..Default::default()
        };
        assert_eq!(refusal(pool.send_confirm(request).await), invalid);
    }
    assert!(pool.confirm(access(&ada), &device).await.is_ok());
    // a key is a user's own
    assert_eq!(refusal(pool.get_device(access(&eve), &device.key).await), NO_DEVICE);
    assert_eq!(refusal(pool.forget(access(&eve), &device.key).await), NO_DEVICE);
    assert_eq!(
        refusal(pool.set_remembered(access(&eve), &device.key, "remembered").await),
        NO_DEVICE
    );
    assert_eq!(refusal(pool.sign_in_on("eve", PASSWORD, &device.key).await), NO_DEVICE);
}

#[tokio::test]
async fn devices_are_listed_in_pages() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    pool.user("eve", &[]).await;
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(pool.device("ada").await.0.key);
    }
    keys.sort();
    let (_, tokens) = pool.device("eve").await;
    let ada = pool.tokens("ada").await;
    let (mut seen, mut page) = (Vec::new(), None);
    loop {
        pool.store.take_trips();
        let listed = pool.list_devices(access(&ada), Some(2), page).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 0));
        assert!(listed.devices.len() <= 2);
        seen.extend(listed.devices.into_iter().filter_map(|device| device.device_key));
        let Some(next) = listed.pagination_token else { break };
        let of_another = pool.list_devices(access(&tokens), Some(2), Some(next.clone())).await;
        assert_eq!(
            refusal(of_another),
            "InvalidParameterException: Invalid pagination token given."
        );
        page = Some(next);
    }
    seen.sort();
    assert_eq!(seen, keys);
    assert_eq!(pool.list_devices(access(&ada), Some(0), None).await.unwrap().devices.len(), 5);
}

#[tokio::test]
async fn a_user_keeps_a_hundred_devices_and_the_oldest_go_first() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    let mut keys = Vec::new();
    for _ in 0..103 {
        keys.push(pool.device("ada").await.0.key);
        pool.advance(1);
    }
    let (mut seen, mut page) = (Vec::new(), None);
    let ada = pool.tokens("ada").await;
    loop {
        let listed = pool.list_devices(access(&ada), None, page).await.unwrap();
        seen.extend(listed.devices.into_iter().filter_map(|device| device.device_key));
        page = listed.pagination_token;
        if page.is_none() {
            break;
        }
    }
    seen.sort();
    let mut left = keys.split_off(3);
    left.sort();
    assert_eq!(seen, left);
}

#[tokio::test]
async fn administrators_see_and_manage_devices() {
    let pool = tracking(false).await;
    let sub = pool.user("ada", &[]).await;
    let (device, _) = pool.device("ada").await;
    let pool_id = Some(pool.pool_id.clone());
    let get = async |username: &str, key: &str| {
        let request = types::AdminGetDeviceRequest {
            user_pool_id: pool_id.clone(),
            username: Some(username.to_owned()),
            device_key: Some(key.to_owned()),
        };
        let result = devices::admin_get_device(&pool.world, &signed_call(), request).await;
        declared("AdminGetDevice", result).map(|response| response.device.unwrap())
    };
    let update = async |username: &str, key: &str, status: Option<&str>| {
        let request = types::AdminUpdateDeviceStatusRequest {
            user_pool_id: pool_id.clone(),
            username: Some(username.to_owned()),
            device_key: Some(key.to_owned()),
            device_remembered_status: status.map(str::to_owned),
        };
        let result =
            devices::admin_update_device_status(&pool.world, &signed_call(), request).await;
        declared("AdminUpdateDeviceStatus", result)
    };
    let forget = async |username: &str, key: &str| {
        let request = types::AdminForgetDeviceRequest {
            user_pool_id: pool_id.clone(),
            username: Some(username.to_owned()),
            device_key: Some(key.to_owned()),
        };
        let result = devices::admin_forget_device(&pool.world, &signed_call(), request).await;
        declared("AdminForgetDevice", result)
    };
    let list = async |username: &str| {
        let request = types::AdminListDevicesRequest {
            user_pool_id: pool_id.clone(),
            username: Some(username.to_owned()),
            ..Default::default()
        };
        let result = devices::admin_list_devices(&pool.world, &signed_call(), request).await;
        declared("AdminListDevices", result).map(|response| response.devices)
    };
    let owner = format!("ada.{}", pool.pool_id);
    let arn =
        format!("arn:aws:cognito-idp:us-east-1:111122223333:owner/{owner}/device/{}", device.key);
    for name in ["ada", &sub] {
        pool.store.take_trips();
        let described = get(name, &device.key).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 0));
        assert_eq!(
            described.device_attributes,
            attributes(&[
                ("device_status", "valid"),
                ("device_name", "a telephone"),
                ("dev:device_arn", &arn),
                ("dev:device_owner", &owner),
                ("dev:device_remembered_status", "remembered"),
            ])
        );
        assert_eq!(list(name).await.unwrap(), [described]);
    }
    update("ada", &device.key, Some("not_remembered")).await.unwrap();
    let status = get("ada", &device.key).await.unwrap().device_attributes.pop().unwrap();
    assert_eq!(status.value.as_deref(), Some("not_remembered"));
    assert_eq!(
        refusal(update("ada", &device.key, None).await),
        "InvalidParameterException: Missing required parameter DeviceRememberedStatus"
    );
    for key in ["us-east-1_0", "", &"x".repeat(100)] {
        assert_eq!(refusal(get("ada", key).await), NO_DEVICE);
        assert_eq!(refusal(update("ada", key, Some("remembered")).await), NO_DEVICE);
        assert_eq!(refusal(forget("ada", key).await), NO_DEVICE);
    }
    // where the API declares no exception for users
    let gone = "ResourceNotFoundException: User does not exist.";
    assert_eq!(refusal(get("nobody", &device.key).await), gone);
    assert_eq!(refusal(list("nobody").await), gone);
    let unknown = "UserNotFoundException: User does not exist.";
    assert_eq!(refusal(update("nobody", &device.key, Some("remembered")).await), unknown);
    assert_eq!(refusal(forget("nobody", &device.key).await), unknown);
    forget("ada", &device.key).await.unwrap();
    assert_eq!(refusal(get("ada", &device.key).await), NO_DEVICE);
    assert_eq!(list("ada").await.unwrap(), []);
}

#[tokio::test]
async fn devices_go_with_their_user() {
    let pool = tracking(false).await;
    let sub = pool.user("ada", &[]).await;
    pool.device("ada").await;
    delete_user(&pool.test, &pool.pool_id, "ada").await;
    let children = crate::auth::tests::races::ReadChildren { pool_id: &pool.pool_id, sub: &sub };
    assert_eq!(transact(&pool.test.world, &children).await.unwrap(), 0);
}
