//! AdminListGroupsForUser.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{describe, limit, membership};
use crate::{
    call::Call,
    errors,
    page_token::{self, List},
    pool_access,
    tx::{Decision, Transaction, Tx, transact},
    users::admin_user,
    world::World,
};

/// Lists the groups of a user, those that take precedence first. One read; two where this gateway does
/// not know one of the groups.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_list_groups_for_user(
    world: &World,
    call: &Call,
    input: types::AdminListGroupsForUserRequest,
) -> Result<types::AdminListGroupsForUserResponse, ApiError> {
    transact(world, &AdminListGroupsForUser { call, input: &input }).await
}

struct AdminListGroupsForUser<'a> {
    call: &'a Call,
    input: &'a types::AdminListGroupsForUserRequest,
}

#[async_trait]
impl Transaction for AdminListGroupsForUser<'_> {
    type Output = types::AdminListGroupsForUserResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let username = self.input.username.as_deref().unwrap_or_default();
        let with = [membership::WITH];
        let user = admin_user::load_with(tx, self.call, username, &with).await?;
        let pool = tx.pool()?;
        let of = [pool.id(), user.sub.as_str()];
        let principal = pool_access::principal(self.call)?;
        let list = List { operation: "AdminListGroupsForUser", principal, of: &of };
        let skipped = page_token::open(&pool.keyring, list, self.input.next_token.as_deref())?;
        let mut groups = membership::groups(tx, &user.sub).await?;
        if !skipped.is_empty() {
            // behind the last one shown, which may have gone since
            let (has_none, precedence, name) =
                decoded(&skipped).ok_or_else(errors::invalid_pagination_token)?;
            groups.retain(|group| membership::rank(group) > (has_none, precedence, name));
        }
        let limit = limit(self.input.limit) as usize;
        let more = groups.len() > limit;
        groups.truncate(limit);
        let next_token = match groups.last() {
            Some(last) if more => {
                let place = encoded(membership::rank(last));
                Some(page_token::seal(tx.world(), &pool.keyring, list, &place)?)
            }
            _ => None,
        };
        let groups = groups.iter().map(|group| describe(pool.id(), group)).collect();
        Ok(types::AdminListGroupsForUserResponse { groups, next_token }.into())
    }
}

fn encoded((has_none, precedence, name): (bool, i32, &str)) -> Vec<u8> {
    [&[u8::from(has_none)], &precedence.to_be_bytes()[..], name.as_bytes()].concat()
}

fn decoded(place: &[u8]) -> Option<(bool, i32, &str)> {
    let (has_none, rest) = place.split_first()?;
    let (precedence, name) = rest.split_first_chunk()?;
    Some((*has_none == 1, i32::from_be_bytes(*precedence), std::str::from_utf8(name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        groups::{create_group, fixtures},
        testing::{signed_call, signed_call_of},
        users::fixtures::{plain_pool, refusal, trips},
    };

    #[tokio::test]
    async fn groups_come_by_precedence_in_pages() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        for (name, precedence) in
            [("d", None), ("c", Some(7)), ("b", Some(7)), ("a", None), ("z", Some(0))]
        {
            let request =
                types::CreateGroupRequest { precedence, ..fixtures::create_request(&pool, name) };
            create_group(&pool, &signed_call(), request).await.unwrap();
            fixtures::add(&pool, "ada", name).await.unwrap();
        }
        assert_eq!(fixtures::groups_of(&pool, "ada").await, ["z", "b", "c", "a", "d"]);
        let request = |next_token| types::AdminListGroupsForUserRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some("ada".to_owned()),
            limit: Some(2),
            next_token,
        };
        let call = signed_call();
        let mut next_token = None;
        for expected in [&["z", "b"][..], &["c", "a"], &["d"]] {
            pool.store.take_trips();
            let page = admin_list_groups_for_user(&pool, &call, request(next_token));
            let page = page.await.unwrap();
            assert_eq!(pool.store.take_trips(), trips(1, 0));
            let names: Vec<_> =
                page.groups.iter().filter_map(|group| group.group_name.as_deref()).collect();
            assert_eq!(names, expected);
            next_token = page.next_token;
        }
        assert_eq!(next_token, None);
    }

    #[tokio::test]
    async fn unknown_users_tokens_and_foreign_pools_are_refused() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        let request =
            |username: &str, next_token: Option<&str>| types::AdminListGroupsForUserRequest {
                user_pool_id: Some(pool.id.clone()),
                username: Some(username.to_owned()),
                next_token: next_token.map(str::to_owned),
                limit: None,
            };
        let (own, foreign) = (signed_call(), signed_call_of("999999999999", "us-east-1"));
        assert_eq!(
            refusal(admin_list_groups_for_user(&pool, &own, request("nobody", None)).await),
            "UserNotFoundException: User does not exist."
        );
        assert_eq!(
            refusal(admin_list_groups_for_user(&pool, &own, request("ada", Some("x"))).await),
            "InvalidParameterException: Invalid pagination token given."
        );
        assert_eq!(
            refusal(admin_list_groups_for_user(&pool, &foreign, request("ada", None)).await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
    }
}
