//! TagResource.

use conclave_api::{ApiError, types};
use conclave_store::records::PoolRecord;

use super::{change::change_pool, tags};
use crate::{call::Call, world::World};

/// Adds tags to a pool; a key that is there gets the new value.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for an ARN that
/// names no pool, a reserved key, or too many tags.
pub async fn tag_resource(
    world: &World,
    call: &Call,
    input: types::TagResourceRequest,
) -> Result<types::TagResourceResponse, ApiError> {
    let arn = input.resource_arn.unwrap_or_default();
    let pool_id = tags::pool_of_arn(call, &arn)?;
    let given = input.tags.unwrap_or_default().items;
    change_pool(world, call, pool_id, |present| {
        let tags = tags::with_tags(present.tags.clone(), &given)?;
        Ok(PoolRecord { tags, ..present.clone() })
    })
    .await?;
    Ok(types::TagResourceResponse::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        errors,
        pools::{describe_user_pool, list_tags_for_resource, untag_resource},
        testing::{ACCOUNT, new_pool, signed_call, signed_call_of, test_world},
    };

    fn arn(pool_id: &str) -> String {
        format!("arn:aws:cognito-idp:us-east-1:{ACCOUNT}:userpool/{pool_id}")
    }

    fn request(arn: &str, tags: &[(&str, &str)]) -> types::TagResourceRequest {
        let items = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        types::TagResourceRequest {
            resource_arn: Some(arn.to_owned()),
            tags: Some(types::StringMap { items: items.collect() }),
        }
    }

    async fn tags(world: &World, pool_id: &str) -> Vec<(String, String)> {
        let input = types::ListTagsForResourceRequest { resource_arn: Some(arn(pool_id)) };
        let tags = list_tags_for_resource(world, &signed_call(), input).await.unwrap().tags;
        tags.into_iter().collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[tokio::test]
    async fn tags_are_added_replaced_listed_and_taken_away() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let call = signed_call();
        let input = request(&arn(&pool_id), &[("team", "blue"), ("stage", "test")]);
        tag_resource(&world, &call, input).await.unwrap();
        let input = request(&arn(&pool_id), &[("team", "green")]);
        tag_resource(&world, &call, input).await.unwrap();
        assert_eq!(tags(&world, &pool_id).await, [pair("stage", "test"), pair("team", "green")]);
        let input = types::DescribeUserPoolRequest { user_pool_id: Some(pool_id.clone()) };
        let pool = describe_user_pool(&world, &call, input).await.unwrap().user_pool.unwrap();
        assert_eq!(pool.user_pool_tags.unwrap().items["team"], "green");
        let input = types::UntagResourceRequest {
            resource_arn: Some(arn(&pool_id)),
            tag_keys: Some(types::StringList { items: vec!["team".to_owned(), "no".to_owned()] }),
        };
        untag_resource(&world, &call, input).await.unwrap();
        assert_eq!(tags(&world, &pool_id).await, [pair("stage", "test")]);
    }

    #[tokio::test]
    async fn reserved_keys_and_too_many_are_refused() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = request(&arn(&pool_id), &[("AWS:team", "x")]);
        let error = tag_resource(&world, &signed_call(), input).await.unwrap_err();
        let text = "aws: prefixed tag key names are not allowed for external use.";
        assert_eq!(error, errors::invalid_parameter(text));
        let keys: Vec<String> = (0..51).map(|number| format!("key{number}")).collect();
        let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "")).collect();
        let input = request(&arn(&pool_id), &many);
        let error = tag_resource(&world, &signed_call(), input).await.unwrap_err();
        assert_eq!(error.code.as_str(), "InvalidParameterException");
        assert_eq!(tags(&world, &pool_id).await, []);
        tag_resource(&world, &signed_call(), request(&arn(&pool_id), &many[..50])).await.unwrap();
    }

    #[tokio::test]
    async fn an_arn_of_something_else_is_refused() {
        let world = test_world().await;
        for arn in ["arn:aws:s3:us-east-1:111122223333:bucket/x", "arn:aws:cognito-idp:::userpool"]
        {
            let error = tag_resource(&world, &signed_call(), request(arn, &[])).await.unwrap_err();
            assert_eq!(error, errors::invalid_parameter("Invalid resource ARN."), "{arn}");
        }
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let other = signed_call_of("444455556666", "us-east-1");
        let abroad = signed_call_of(ACCOUNT, "eu-west-1");
        // under the owner's account in the ARN, and under the caller's own
        for (call, account, region) in [
            (&other, ACCOUNT, "us-east-1"),
            (&other, "444455556666", "us-east-1"),
            (&abroad, ACCOUNT, "us-east-1"),
            (&abroad, ACCOUNT, "eu-west-1"),
        ] {
            let arn = format!("arn:aws:cognito-idp:{region}:{account}:userpool/{pool_id}");
            let error = tag_resource(&world, call, request(&arn, &[("a", "b")])).await;
            assert_eq!(error.unwrap_err(), errors::user_pool_not_found(&pool_id));
            let input = types::ListTagsForResourceRequest { resource_arn: Some(arn.clone()) };
            let error = list_tags_for_resource(&world, call, input).await.unwrap_err();
            assert_eq!(error, errors::user_pool_not_found(&pool_id));
            let input = types::UntagResourceRequest {
                resource_arn: Some(arn),
                tag_keys: Some(types::StringList::default()),
            };
            let error = untag_resource(&world, call, input).await.unwrap_err();
            assert_eq!(error, errors::user_pool_not_found(&pool_id));
        }
        assert_eq!(tags(&world, &pool_id).await, []);
    }
}
