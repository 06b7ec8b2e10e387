//! ListUsers: the users of a pool, or those that a filter finds.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::UserRecord};
use prost::Message;

use super::{
    attributes, describe,
    filter::{Filter, Subject},
};
use crate::{
    call::Call,
    config::PoolConfig,
    errors,
    page_token::{self, List},
    pool_access,
    pools::schema,
    tx::{Decision, Failure, Page, Query, Transaction, Tx, transact},
    world::World,
};

/// Users in a page, at most and by default. Source: API reference, QueryLimitType.
const LIMIT_MAX: u32 = 60;

/// Lists users, in no particular order. One read; two where a filter goes through an index.
///
/// # Errors
/// Those of the API reference.
pub async fn list_users(
    world: &World,
    call: &Call,
    input: types::ListUsersRequest,
) -> Result<types::ListUsersResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    let filter_text = input.filter.unwrap_or_default();
    let of = [pool_id.as_str(), filter_text.as_str()];
    let principal = pool_access::principal(call)?;
    let list = List { operation: "ListUsers", principal, of: &of };
    let limit = input.limit.and_then(|limit| u32::try_from(limit).ok()).filter(|limit| *limit > 0);
    let transaction = ListUsers {
        call,
        pool_id: &pool_id,
        list,
        filter: Filter::parse(&filter_text)?,
        attributes_to_get: input.attributes_to_get.map(|names| names.items),
        limit: limit.unwrap_or(LIMIT_MAX).min(LIMIT_MAX),
        // under the cluster's key: the place to go on from is needed before the pool is read
        after: page_token::open(
            &world.cluster_keys.get(),
            list,
            input.pagination_token.as_deref(),
        )?,
    };
    transact(world, &transaction).await
}

struct ListUsers<'a> {
    call: &'a Call,
    pool_id: &'a str,
    list: List<'a>,
    filter: Option<Filter>,
    attributes_to_get: Option<Vec<String>>,
    limit: u32,
    after: Vec<u8>,
}

#[async_trait]
impl Transaction for ListUsers<'_> {
    type Output = types::ListUsersResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let prefix = self.filter.as_ref().map_or_else(keys::users, Filter::scanned);
        let exact = self.filter.as_ref().is_some_and(Filter::is_exact);
        let limit = if exact { 1 } else { self.limit };
        let mut pages = tx.load(Query::new().scan(prefix, self.after.clone(), limit)).await?;
        let pool = pool_access::owned_pool(tx, self.call)?;
        let page = pages.pop().ok_or_else(|| errors::internal("a scan has no page"))?;
        self.check_attributes_exist(&pool)?;
        let users = self.users(tx, &page).await?;
        let users =
            users.iter().map(|user| self.shown(user)).collect::<Result<Vec<_>, ApiError>>()?;
        let pagination_token = match &page.next {
            Some(last) if !exact => {
                Some(page_token::seal(tx.world(), &tx.world().cluster_keys.get(), self.list, last)?)
            }
            _ => None,
        };
        Ok(types::ListUsersResponse { users, pagination_token }.into())
    }
}

impl ListUsers<'_> {
    /// The users that the rows of a page are, or lead to. What the filter does not find (any more) is
    /// left out: an index holds the beginnings of long values, and is read before the records are.
    async fn users(&self, tx: &mut Tx<'_>, page: &Page) -> Result<Vec<UserRecord>, Failure> {
        let subs: Option<Vec<String>> = match self.filter.as_ref().map(|filter| filter.subject) {
            None | Some(Subject::Sub) => None,
            Some(Subject::Username) => {
                Some(page.rows.iter().filter_map(|(_, sub)| text(sub)).map(str::to_owned).collect())
            }
            Some(Subject::Indexed(_)) => {
                let subs = page.rows.iter().filter_map(|(key, _)| keys::user_attribute_sub(key));
                Some(subs.map(str::to_owned).collect())
            }
        };
        let mut users = Vec::with_capacity(page.rows.len());
        match subs {
            None => {
                for (_, value) in &page.rows {
                    let user = UserRecord::decode(value.clone())
                        .map_err(|_| errors::internal("a stored record cannot be decoded"))?;
                    users.push(user);
                }
            }
            Some(subs) if subs.is_empty() => {}
            Some(subs) => {
                let query = subs.iter().fold(Query::new(), |query, sub| query.get(keys::user(sub)));
                tx.load(query).await?;
                for sub in &subs {
                    users.extend(tx.get::<UserRecord>(&keys::user(sub))?.map(|user| user.record));
                }
            }
        }
        users.retain(|user| self.filter.as_ref().is_none_or(|filter| filter.matches(user)));
        Ok(users)
    }

    fn shown(&self, user: &UserRecord) -> Result<types::UserType, ApiError> {
        let Some(names) = &self.attributes_to_get else { return Ok(describe::user_type(user)) };
        let mut shown = attributes::described(user);
        let has = |name: &String| shown.iter().any(|shown| shown.name.as_ref() == Some(name));
        if !names.iter().all(has) {
            return Err(no_such_attributes());
        }
        shown.retain(|shown| shown.name.as_ref().is_some_and(|name| names.contains(name)));
        Ok(describe::with_attributes(user, shown))
    }

    fn check_attributes_exist(&self, pool: &PoolConfig) -> Result<(), ApiError> {
        let mut names = self.attributes_to_get.iter().flatten();
        let known = |name: &String| {
            name == attributes::IDENTITIES || schema::find(&pool.record, name).is_some()
        };
        if names.all(known) {
            return Ok(());
        }
        Err(no_such_attributes())
    }
}

/// The pool has no such attribute, or one of the users has no value for it.
fn no_such_attributes() -> ApiError {
    errors::invalid_parameter("One or more requested attributes do not exist.")
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        testing::{signed_call, signed_call_of},
        users::fixtures::{TestPool, alias_pool, plain_pool, refusal, shown, strings, trips},
    };

    fn request(pool: &TestPool) -> types::ListUsersRequest {
        types::ListUsersRequest { user_pool_id: Some(pool.id.clone()), ..Default::default() }
    }

    async fn list(
        pool: &TestPool,
        request: types::ListUsersRequest,
    ) -> Result<types::ListUsersResponse, ApiError> {
        list_users(pool, &signed_call(), request).await
    }

    /// The names of the users that a filter finds, sorted.
    async fn found(pool: &TestPool, filter: &str) -> Vec<String> {
        let filter = Some(filter.to_owned());
        let response = list(pool, types::ListUsersRequest { filter, ..request(pool) }).await;
        let response = response.expect("lists");
        assert_eq!(response.pagination_token, None);
        names(&response).into_iter().collect()
    }

    fn names(response: &types::ListUsersResponse) -> BTreeSet<String> {
        response.users.iter().filter_map(|user| user.username.clone()).collect()
    }

    async fn people() -> TestPool {
        let pool = alias_pool().await;
        let ada = [
            ("email", "Ada@example.com"),
            ("name", "Ada L"),
            ("given_name", "Ada"),
            ("family_name", "Lovelace"),
            ("phone_number", "+12065550100"),
            ("preferred_username", "countess"),
        ];
        pool.confirmed_user("ada", &ada).await;
        pool.sign_up("adam", &[("email", "adam@example.org"), ("family_name", "Love")])
            .await
            .unwrap();
        pool.create("Eve", &[("family_name", "O\"Hara")]).await.unwrap();
        pool.store.take_trips();
        pool
    }

    #[tokio::test]
    async fn users_are_listed_as_they_are() {
        let pool = people().await;
        let response = list(&pool, request(&pool)).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 0));
        assert_eq!(response.pagination_token, None);
        assert_eq!(names(&response), ["Eve", "ada", "adam"].map(str::to_owned).into());
        let adam = response.users.iter().find(|user| user.username.as_deref() == Some("adam"));
        let adam = adam.unwrap();
        assert_eq!(adam.user_status.as_deref(), Some("UNCONFIRMED"));
        assert_eq!(adam.enabled, Some(true));
        assert_eq!(
            shown(&adam.attributes),
            ["email=adam@example.org", "email_verified=false", "family_name=Love"]
        );
        assert_eq!(adam.attributes.last().unwrap().name.as_deref(), Some("sub"));
        let empty = plain_pool().await;
        assert!(list(&empty, request(&empty)).await.unwrap().users.is_empty());
    }

    #[tokio::test]
    async fn filters_find_users_by_what_is_indexed() {
        let pool = people().await;
        let sub = pool.user("ada").await.unwrap().user_attributes.pop().unwrap().value.unwrap();
        pool.store.take_trips();
        let ada = ["ada"];
        for (filter, expected) in [
            ("email = \"ada@example.com\"", &ada[..]),
            ("email = \"ADA@EXAMPLE.COM\"", &ada),
            ("\"email\" = \"ada@example.co\"", &[]),
            ("email ^= \"ada\"", &["ada", "adam"]),
            ("email^=\"ada@\"", &ada),
            ("phone_number = \"+12065550100\"", &ada),
            ("name ^= \"ada\"", &ada),
            ("given_name = \"ada\"", &ada),
            ("family_name ^= \"love\"", &["ada", "adam"]),
            ("family_name = \"love\"", &["adam"]),
            ("family_name = \"o\\\"hara\"", &["Eve"]),
            ("preferred_username = \"countess\"", &ada),
            ("cognito:user_status = \"CONFIRMED\"", &ada),
            ("cognito:user_status = \"force_change_password\"", &["Eve"]),
            ("status = \"Enabled\"", &["Eve", "ada", "adam"]),
            ("status = \"enabled\"", &[]),
            ("status = \"Disabled\"", &[]),
            ("email ^= \"\"", &["ada", "adam"]),
        ] {
            assert_eq!(found(&pool, filter).await, expected, "{filter}");
            assert!(pool.store.take_trips().reads <= 2);
        }
        for (filter, expected) in [
            (format!("sub = \"{sub}\""), &ada[..]),
            (format!("sub ^= \"{}\"", &sub[..8]), &ada),
            (format!("sub = \"{}\"", &sub[..8]), &[]),
            ("username = \"ada\"".to_owned(), &ada),
            ("username = \"eve\"".to_owned(), &[]),
            ("username ^= \"ad\"".to_owned(), &["ada", "adam"]),
            (" ".to_owned(), &["Eve", "ada", "adam"]),
        ] {
            assert_eq!(found(&pool, &filter).await, expected, "{filter}");
        }
    }

    #[tokio::test]
    async fn the_index_follows_what_happens_to_users() {
        let pool = people().await;
        let target = |username: &str| types::AdminDeleteUserRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
        };
        let confirm = types::AdminConfirmSignUpRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some("adam".to_owned()),
            ..Default::default()
        };
        crate::users::admin_confirm_sign_up(&pool, &signed_call(), confirm).await.unwrap();
        assert_eq!(found(&pool, "cognito:user_status=\"CONFIRMED\"").await, ["ada", "adam"]);
        assert!(found(&pool, "cognito:user_status=\"UNCONFIRMED\"").await.is_empty());
        crate::users::admin_delete_user(&pool, &signed_call(), target("ada")).await.unwrap();
        assert_eq!(found(&pool, "email ^= \"ada\"").await, ["adam"]);
        assert_eq!(found(&pool, "status = \"Enabled\"").await, ["Eve", "adam"]);
    }

    #[tokio::test]
    async fn values_longer_than_the_index_are_told_apart() {
        let pool = plain_pool().await;
        let long = "x".repeat(256);
        pool.sign_up("short", &[("name", &long)]).await.unwrap();
        pool.sign_up("long", &[("name", &format!("{long}y"))]).await.unwrap();
        assert_eq!(found(&pool, &format!("name = \"{long}\"")).await, ["short"]);
        assert_eq!(found(&pool, &format!("name ^= \"{long}\"")).await, ["long", "short"]);
    }

    #[tokio::test]
    async fn pages_hold_every_user_once() {
        let pool = plain_pool().await;
        for number in 0..7 {
            pool.create(&format!("user{number}"), &[("family_name", "Same")]).await.unwrap();
        }
        pool.create("other", &[("family_name", "Other")]).await.unwrap();
        for (filter, count) in
            [(None, 8), (Some("family_name=\"same\""), 7), (Some("username ^= \"user\""), 7)]
        {
            let mut token = None;
            let mut seen = Vec::new();
            loop {
                let request = types::ListUsersRequest {
                    limit: Some(3),
                    filter: filter.map(str::to_owned),
                    pagination_token: token,
                    ..request(&pool)
                };
                let response = list(&pool, request).await.unwrap();
                assert!(response.users.len() <= 3);
                seen.extend(response.users.into_iter().filter_map(|user| user.username));
                token = response.pagination_token;
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(seen.len(), count);
            assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), count);
        }
        let request = types::ListUsersRequest { limit: Some(0), ..request(&pool) };
        assert_eq!(list(&pool, request).await.unwrap().users.len(), 8);
    }

    #[tokio::test]
    async fn a_page_token_is_good_for_its_own_list() {
        let pool = people().await;
        let first = types::ListUsersRequest { limit: Some(1), ..request(&pool) };
        let token = list(&pool, first).await.unwrap().pagination_token.unwrap();
        let with = |token: &str, filter: Option<&str>| types::ListUsersRequest {
            pagination_token: Some(token.to_owned()),
            filter: filter.map(str::to_owned),
            ..request(&pool)
        };
        assert!(list(&pool, with(&token, None)).await.is_ok());
        for (token, filter) in
            [(token.as_str(), Some("status=\"Enabled\"")), (&token[1..], None), ("x", None)]
        {
            assert_eq!(
                refusal(list(&pool, with(token, filter)).await),
                "InvalidParameterException: Invalid pagination token given."
            );
        }
    }

    #[tokio::test]
    async fn attributes_can_be_chosen_where_every_user_has_them() {
        let pool = people().await;
        let with = |names: &[&str], filter: &str| types::ListUsersRequest {
            attributes_to_get: Some(types::StringList { items: strings(names) }),
            filter: Some(filter.to_owned()),
            ..request(&pool)
        };
        let response = list(&pool, with(&["sub", "email"], "email ^= \"ada\"")).await.unwrap();
        for user in response.users {
            let names: Vec<_> = user.attributes.into_iter().filter_map(|a| a.name).collect();
            assert_eq!(names, ["email", "sub"]);
        }
        let response = list(&pool, with(&[], "")).await.unwrap();
        assert!(response.users.iter().all(|user| user.attributes.is_empty()));
        for (names, filter) in [
            (&["email"][..], ""),
            (&["custom:none"], ""),
            (&["custom:none"], "email=\"none\""),
            (&["email", "phone_number"], "email ^= \"ada\""),
        ] {
            assert_eq!(
                refusal(list(&pool, with(names, filter)).await),
                "InvalidParameterException: One or more requested attributes do not exist."
            );
        }
    }

    #[tokio::test]
    async fn a_foreign_pool_is_no_pool() {
        let pool = people().await;
        let foreign = signed_call_of("999999999999", "us-east-1");
        assert_eq!(
            refusal(list_users(&pool, &foreign, request(&pool)).await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
        let filter = Some("email".to_owned());
        assert_eq!(
            refusal(list(&pool, types::ListUsersRequest { filter, ..request(&pool) }).await),
            "InvalidParameterException: Error while parsing filter."
        );
    }
}
