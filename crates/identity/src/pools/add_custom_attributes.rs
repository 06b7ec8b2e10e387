//! AddCustomAttributes.

use conclave_api::{ApiError, types};
use conclave_store::records::PoolRecord;

use super::{change::change_pool_without_import, schema};
use crate::{call::Call, world::World};

/// Adds attributes to a pool's schema. They stay for good.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; UserImportInProgressException; what [`schema::add_custom`] refuses.
pub async fn add_custom_attributes(
    world: &World,
    call: &Call,
    input: types::AddCustomAttributesRequest,
) -> Result<types::AddCustomAttributesResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    let requested = input.custom_attributes.unwrap_or_default().items;
    let max = world.settings.limits.custom_attributes_per_pool;
    change_pool_without_import(world, call, &pool_id, |present| {
        let mut record: PoolRecord = present.clone();
        schema::add_custom(&mut record.schema, &requested, max)?;
        Ok(record)
    })
    .await?;
    Ok(types::AddCustomAttributesResponse::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        errors,
        pools::describe_user_pool,
        testing::{ACCOUNT, new_pool, signed_call, signed_call_of, test_world},
    };

    fn attribute(name: &str) -> types::SchemaAttributeType {
        types::SchemaAttributeType {
            name: Some(name.to_owned()),
            attribute_data_type: Some("String".to_owned()),
            ..Default::default()
        }
    }

    fn request(
        pool_id: &str,
        items: Vec<types::SchemaAttributeType>,
    ) -> types::AddCustomAttributesRequest {
        types::AddCustomAttributesRequest {
            user_pool_id: Some(pool_id.to_owned()),
            custom_attributes: Some(types::SchemaAttributeTypeList { items }),
        }
    }

    async fn add(
        world: &World,
        pool_id: &str,
        items: Vec<types::SchemaAttributeType>,
    ) -> Result<(), ApiError> {
        add_custom_attributes(world, &signed_call(), request(pool_id, items)).await.map(|_| ())
    }

    async fn custom(world: &World, pool_id: &str) -> Vec<String> {
        let input = types::DescribeUserPoolRequest { user_pool_id: Some(pool_id.to_owned()) };
        let pool = describe_user_pool(world, &signed_call(), input).await.unwrap().user_pool;
        let names = pool.unwrap().schema_attributes.into_iter().filter_map(|item| item.name);
        names.filter(|name| name.starts_with("custom:")).collect()
    }

    #[tokio::test]
    async fn they_are_described_from_then_on() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        add(&world, &pool_id, vec![attribute("team"), attribute("email")]).await.unwrap();
        add(&world, &pool_id, vec![attribute("x")]).await.unwrap();
        assert_eq!(custom(&world, &pool_id).await, ["custom:team", "custom:email", "custom:x"]);
    }

    /// The text for a name that is taken is another implementation's (moto, from the service).
    #[tokio::test]
    async fn a_name_can_be_had_once_and_nothing_is_added_by_halves() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        add(&world, &pool_id, vec![attribute("team")]).await.unwrap();
        for items in [
            vec![attribute("other"), attribute("team")],
            vec![attribute("other"), attribute("team"), attribute("third")],
        ] {
            let error = add(&world, &pool_id, items).await;
            let text = "custom:team: Existing attribute already has name custom:team.";
            assert_eq!(error.unwrap_err(), errors::invalid_parameter(text));
        }
        assert_eq!(custom(&world, &pool_id).await, ["custom:team"]);
    }

    #[tokio::test]
    async fn what_a_custom_attribute_may_not_be_is_refused() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let required = types::SchemaAttributeType { required: Some(true), ..attribute("must") };
        let error = add(&world, &pool_id, vec![required]).await;
        let text = "Required custom attributes are not supported currently.";
        assert_eq!(error.unwrap_err(), errors::invalid_parameter(text));
    }

    #[tokio::test]
    async fn a_pool_has_a_limit_of_them() {
        let mut world = test_world().await;
        world.world.settings.limits.custom_attributes_per_pool = 2;
        let pool_id = new_pool(&world).await;
        add(&world, &pool_id, vec![attribute("a"), attribute("b")]).await.unwrap();
        let error = add(&world, &pool_id, vec![attribute("c")]).await;
        assert_eq!(error.unwrap_err().code.as_str(), "InvalidParameterException");
        assert_eq!(custom(&world, &pool_id).await.len(), 2);
    }

    #[tokio::test]
    async fn two_at_once_lose_nothing() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let call = signed_call();
        let (one, two) = tokio::join!(
            add_custom_attributes(&world, &call, request(&pool_id, vec![attribute("a")])),
            add_custom_attributes(&world, &call, request(&pool_id, vec![attribute("b")])),
        );
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(custom(&world, &pool_id).await.len(), 2);
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
        {
            let input = request(&pool_id, vec![attribute("team")]);
            let error = add_custom_attributes(&world, &call, input).await.unwrap_err();
            assert_eq!(error, errors::user_pool_not_found(&pool_id));
        }
        assert!(custom(&world, &pool_id).await.is_empty());
    }
}
