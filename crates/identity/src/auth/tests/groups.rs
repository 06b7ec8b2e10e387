//! What tokens say of groups, and when it changes.

use super::*;
use crate::groups;
use serde_json::json;

impl Fixture {
    async fn group(&self, name: &str, precedence: Option<i32>, role: Option<&str>) {
        let request = types::CreateGroupRequest {
            user_pool_id: Some(self.pool_id.clone()),
            group_name: Some(name.to_owned()),
            precedence,
            role_arn: role.map(role_arn),
            ..Default::default()
        };
        groups::create_group(&self.test, &signed_call(), request).await.expect("makes a group");
    }

    async fn join(&self, username: &str, group: &str) {
        let request = types::AdminAddUserToGroupRequest {
            user_pool_id: Some(self.pool_id.clone()),
            username: Some(username.to_owned()),
            group_name: Some(group.to_owned()),
        };
        groups::admin_add_user_to_group(&self.test, &signed_call(), request).await.expect("joins");
    }
}

fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

#[tokio::test]
async fn tokens_name_groups_and_roles_by_precedence() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    for (name, precedence, role) in
        [("staff", Some(5), Some("staff")), ("admins", Some(1), Some("admin")), ("all", None, None)]
    {
        pool.group(name, precedence, role).await;
        pool.join("ada", name).await;
    }
    pool.store.take_trips();
    let sign_in = async || {
        let answer = pool.sign_in(&pool.client_id, "ada", PASSWORD).await.unwrap();
        answer.authentication_result.unwrap()
    };
    let tokens = sign_in().await;
    // a gateway that does not know the groups reads once more, and then knows them
    assert_eq!(pool.store.take_trips(), trips(2, 1));
    let id = claims(id(&tokens));
    assert_eq!(id["cognito:groups"], json!(["admins", "staff", "all"]));
    assert_eq!(id["cognito:roles"], json!([role_arn("admin"), role_arn("staff")]));
    assert_eq!(id["cognito:preferred_role"], role_arn("admin"));
    let access = claims(access(&tokens));
    assert_eq!(access["cognito:groups"], id["cognito:groups"]);
    assert!(!access.contains_key("cognito:roles"));
    assert!(names(&access).starts_with("sub cognito:groups iss "));

    sign_in().await;
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    let refreshed = pool.refresh(&pool.client_id, refresh_token(&tokens)).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 0));
    let refreshed = claims(super::id(&refreshed));
    assert_eq!(refreshed["cognito:groups"], id["cognito:groups"]);
}

#[tokio::test]
async fn who_is_in_no_group_has_no_such_claim() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.group("staff", None, Some("staff")).await;
    for token in [id, access] {
        let claims = claims(token(&pool.tokens("ada").await));
        assert!(claims.keys().all(|name| !name.starts_with("cognito:groups")));
        assert!(!claims.contains_key("cognito:roles"));
        assert!(!claims.contains_key("cognito:preferred_role"));
    }
}

#[tokio::test]
async fn a_refresh_tells_what_has_changed() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.group("staff", None, Some("staff")).await;
    let tokens = pool.tokens("ada").await;
    let refreshed = async || {
        let tokens = pool.refresh(&pool.client_id, refresh_token(&tokens)).await.unwrap();
        claims(id(&tokens))
    };
    pool.join("ada", "staff").await;
    assert_eq!(refreshed().await["cognito:groups"], json!(["staff"]));
    let update = types::UpdateGroupRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        group_name: Some("staff".to_owned()),
        role_arn: Some(role_arn("other")),
        ..Default::default()
    };
    groups::update_group(&pool.test, &signed_call(), update).await.unwrap();
    assert_eq!(refreshed().await["cognito:preferred_role"], role_arn("other"));
    let delete = types::DeleteGroupRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        group_name: Some("staff".to_owned()),
    };
    groups::delete_group(&pool.test, &signed_call(), delete).await.unwrap();
    assert!(!refreshed().await.contains_key("cognito:groups"));
}

/// A group that is taken away between the read and the commit of a sign-in is in no token of it.
#[tokio::test]
async fn no_token_names_a_group_that_has_just_been_left() {
    for whole_group in [true, false] {
        let pool = Fixture::new().await;
        pool.user("ada", &[]).await;
        pool.group("staff", None, None).await;
        pool.join("ada", "staff").await;
        let test = gateway(&pool.test, Arc::clone(&pool.store) as Arc<dyn Store>);
        let pool_id = pool.pool_id.clone();
        *pool.hooked.before_commit.lock() = Some(Box::pin(async move {
            let (user_pool_id, group_name) = (Some(pool_id), Some("staff".to_owned()));
            let call = signed_call();
            if whole_group {
                let request = types::DeleteGroupRequest { user_pool_id, group_name };
                groups::delete_group(&test, &call, request).await.unwrap();
            } else {
                let request = types::AdminRemoveUserFromGroupRequest {
                    user_pool_id,
                    group_name,
                    username: Some("ada".to_owned()),
                };
                groups::admin_remove_user_from_group(&test, &call, request).await.unwrap();
            }
        }));
        let claims = claims(id(&pool.tokens("ada").await));
        assert!(!claims.contains_key("cognito:groups"), "{whole_group}");
    }
}
