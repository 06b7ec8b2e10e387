//! CreateResourceServer.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::{keys, records::ResourceServerRecord};
use prost::Message;

use super::{describe, settings};
use crate::{
    call::Call,
    errors,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Makes a resource server with its scopes.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for an
/// identifier that is taken, and for scopes that repeat each other; LimitExceededException when the pool
/// has too many.
pub async fn create_resource_server(
    world: &World,
    call: &Call,
    input: types::CreateResourceServerRequest,
) -> Result<types::CreateResourceServerResponse, ApiError> {
    transact(world, &Create { call, input: &input }).await
}

struct Create<'a> {
    call: &'a Call,
    input: &'a types::CreateResourceServerRequest,
}

#[async_trait]
impl Transaction for Create<'_> {
    type Output = types::CreateResourceServerResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let identifier = self.input.identifier.as_deref().unwrap_or_default();
        let row = keys::resource_server(identifier);
        tx.load(Query::new().get(row.clone())).await?;
        let pool = owned_pool(tx, self.call)?;
        if tx.get::<ResourceServerRecord>(&row)?.is_some() {
            return Err(errors::invalid_parameter(format!(
                "{identifier} already exists in user pool {}.",
                pool.id()
            ))
            .into());
        }
        let record = settings::record(identifier, self.input.name.as_deref(), &self.input.scopes)?;
        let max = tx.world().settings.limits.resource_servers_per_pool;
        tx.put_new(row, record.encode_to_vec().into(), None);
        tx.add(keys::resource_server_count(), 1, Some((max, too_many())), None);
        tx.bump_epoch();
        let server = describe(pool.id(), &record);
        Ok(types::CreateResourceServerResponse { resource_server: Some(server) }.into())
    }
}

fn too_many() -> ApiError {
    ApiError::new(
        ExceptionName::LimitExceededException,
        "The maximum number of resource servers for this user pool has been reached.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        resource_servers::{
            delete_resource_server, describe_resource_server, list_resource_servers,
            resource_server_not_found, update_resource_server,
        },
        testing::{ACCOUNT, new_pool, signed_call, signed_call_of, test_world},
    };

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn scope(name: &str) -> types::ResourceServerScopeType {
        types::ResourceServerScopeType {
            scope_name: text(name),
            scope_description: text("what it is for"),
        }
    }

    fn request(pool_id: &str, identifier: &str) -> types::CreateResourceServerRequest {
        types::CreateResourceServerRequest {
            user_pool_id: text(pool_id),
            identifier: text(identifier),
            name: text("api"),
            scopes: vec![scope("read"), scope("write")],
        }
    }

    async fn create(
        world: &World,
        input: types::CreateResourceServerRequest,
    ) -> Result<types::ResourceServerType, ApiError> {
        let answer = create_resource_server(world, &signed_call(), input).await?;
        Ok(answer.resource_server.expect("answers the server"))
    }

    async fn described(
        world: &World,
        call: &Call,
        pool_id: &str,
        identifier: &str,
    ) -> Result<types::ResourceServerType, ApiError> {
        let input = types::DescribeResourceServerRequest {
            user_pool_id: text(pool_id),
            identifier: text(identifier),
        };
        let answer = describe_resource_server(world, call, input).await?;
        Ok(answer.resource_server.expect("answers the server"))
    }

    #[tokio::test]
    async fn what_was_made_is_described_listed_changed_and_deleted() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let id = "https://api.example.com/v1";
        let made = create(&world, request(&pool_id, id)).await.unwrap();
        assert_eq!(made.identifier, text(id));
        assert_eq!(made.scopes, [scope("read"), scope("write")]);
        let call = signed_call();
        assert_eq!(described(&world, &call, &pool_id, id).await, Ok(made));

        let input = types::UpdateResourceServerRequest {
            user_pool_id: text(&pool_id),
            identifier: text(id),
            name: text("renamed"),
            scopes: vec![scope("admin")],
        };
        let changed = update_resource_server(&world, &call, input).await.unwrap();
        let changed = changed.resource_server.unwrap();
        assert_eq!(
            (changed.name.as_deref(), &changed.scopes[..]),
            (Some("renamed"), &[scope("admin")][..])
        );
        let input = types::ListResourceServersRequest {
            user_pool_id: text(&pool_id),
            ..Default::default()
        };
        let listed = list_resource_servers(&world, &call, input).await.unwrap();
        assert_eq!(listed.resource_servers, [changed]);

        let input = types::DeleteResourceServerRequest {
            user_pool_id: text(&pool_id),
            identifier: text(id),
        };
        delete_resource_server(&world, &call, input.clone()).await.unwrap();
        let gone = Err(resource_server_not_found());
        assert_eq!(described(&world, &call, &pool_id, id).await, gone);
        let again = delete_resource_server(&world, &call, input).await;
        assert_eq!(again, Err(resource_server_not_found()));
        let input = types::UpdateResourceServerRequest {
            user_pool_id: text(&pool_id),
            identifier: text(id),
            ..Default::default()
        };
        let update = update_resource_server(&world, &call, input).await;
        assert_eq!(update, Err(resource_server_not_found()));
    }

    /// The text is known from reports of the service's answer.
    #[tokio::test]
    async fn an_identifier_is_had_once_in_a_pool() {
        let world = test_world().await;
        let (pool_id, other) = (new_pool(&world).await, new_pool(&world).await);
        create(&world, request(&pool_id, "api")).await.unwrap();
        let error = create(&world, request(&pool_id, "api")).await.unwrap_err();
        let text = format!("api already exists in user pool {pool_id}.");
        assert_eq!(error, errors::invalid_parameter(text));
        create(&world, request(&other, "api")).await.expect("another pool has its own");
    }

    #[tokio::test]
    async fn scopes_differ() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = types::CreateResourceServerRequest {
            scopes: vec![scope("read"), scope("read")],
            ..request(&pool_id, "api")
        };
        let error = create(&world, input).await.unwrap_err();
        assert_eq!(error, errors::invalid_parameter("Duplicate scope name read."));
    }

    #[tokio::test]
    async fn a_pool_has_a_limit_of_them_and_a_deleted_one_no_longer_counts() {
        let mut world = test_world().await;
        world.world.settings.limits.resource_servers_per_pool = 1;
        let pool_id = new_pool(&world).await;
        create(&world, request(&pool_id, "a")).await.unwrap();
        let error = create(&world, request(&pool_id, "b")).await.unwrap_err();
        assert_eq!(error.code.as_str(), "LimitExceededException");
        let input = types::DeleteResourceServerRequest {
            user_pool_id: text(&pool_id),
            identifier: text("a"),
        };
        delete_resource_server(&world, &signed_call(), input).await.unwrap();
        create(&world, request(&pool_id, "b")).await.unwrap();
    }

    #[tokio::test]
    async fn pages_go_through_every_server_once_and_tokens_are_the_list_s_own() {
        let world = test_world().await;
        let (pool_id, other) = (new_pool(&world).await, new_pool(&world).await);
        for identifier in ["a", "b", "c"] {
            create(&world, request(&pool_id, identifier)).await.unwrap();
        }
        let page = |pool_id: &str, next_token| types::ListResourceServersRequest {
            user_pool_id: text(pool_id),
            max_results: Some(2),
            next_token,
        };
        let call = signed_call();
        let first = list_resource_servers(&world, &call, page(&pool_id, None)).await.unwrap();
        let token = first.next_token.clone();
        let second = list_resource_servers(&world, &call, page(&pool_id, token.clone())).await;
        let all = first.resource_servers.into_iter().chain(second.unwrap().resource_servers);
        let ids: Vec<_> = all.filter_map(|server| server.identifier).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        let error = list_resource_servers(&world, &call, page(&other, token)).await.unwrap_err();
        assert_eq!(error, errors::invalid_pagination_token());
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        create(&world, request(&pool_id, "api")).await.unwrap();
        let gone = errors::user_pool_not_found(&pool_id);
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
        {
            let create = create_resource_server(&world, &call, request(&pool_id, "x")).await;
            assert_eq!(create.unwrap_err(), gone);
            assert_eq!(described(&world, &call, &pool_id, "api").await.unwrap_err(), gone);
            let input = types::UpdateResourceServerRequest {
                user_pool_id: text(&pool_id),
                identifier: text("api"),
                ..Default::default()
            };
            assert_eq!(update_resource_server(&world, &call, input).await.unwrap_err(), gone);
            let input = types::DeleteResourceServerRequest {
                user_pool_id: text(&pool_id),
                identifier: text("api"),
            };
            assert_eq!(delete_resource_server(&world, &call, input).await.unwrap_err(), gone);
            let input = types::ListResourceServersRequest {
                user_pool_id: text(&pool_id),
                ..Default::default()
            };
            assert_eq!(list_resource_servers(&world, &call, input).await.unwrap_err(), gone);
        }
    }
}
