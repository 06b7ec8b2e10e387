//! User pools: found by a fixed id, or by account, region and name.

use conclave_api::{ApiError, types};
use conclave_crypto::ids;
use conclave_identity::{directory, world::World};
use serde_json::{Map, Value as Json, json};

use super::{
    SeedError,
    apply::{Outcome, Report, for_good, found, refused},
    call::{Caller, member, submit},
    clients, compare,
    form::{CLIENTS, DOMAINS, GROUPS, IDENTITY_PROVIDERS, RESOURCE_SERVERS, USER_POOLS, USERS},
    node::Node,
    resources, users,
};

/// The account of `conclave dev`.
const ACCOUNT_ID: &str = "000000000000";
const REGION: &str = "us-east-1";

/// A pool and what is in it.
pub async fn pool(world: &World, node: &Node, report: &mut Report) -> Result<(), SeedError> {
    let account_id = node.text("AccountId").unwrap_or(ACCOUNT_ID);
    let account = directory::find_account(world, account_id).await.map_err(refused(node))?;
    if account.is_none() {
        let text = format!("there is no account {account_id}: declare it under Accounts");
        return Err(SeedError::at(node.line_of("AccountId"), text));
    }
    let chosen = node.text("Id");
    let region = chosen.and_then(ids::chosen_pool_region);
    let caller = Caller::new(world, account_id, node.text("Region").or(region).unwrap_or(REGION));
    let declared = USER_POOLS.declared(node);
    let present = match chosen {
        Some(id) => describe(&caller, id).await.map_err(refused(node))?,
        None => by_name(&caller, node).await?,
    };
    let (pool_id, outcome) = match present {
        None => {
            let made = create(&caller, &declared, chosen).await;
            (made.map_err(refused(node))?, Outcome::Created)
        }
        Some(described) => {
            let id = described.get("Id").and_then(Json::as_str).unwrap_or_default().to_owned();
            let changed = update(&caller, node, &declared, &described).await?;
            (id, Outcome::of_changes(changed))
        }
    };
    let name = node.text("PoolName").unwrap_or_default();
    report.add(USER_POOLS.what, &format!("{pool_id} ({name})"), outcome);
    report.ids.push(format!("user pool {pool_id} ({name})"));
    contents(&caller, &pool_id, node, report).await
}

/// In an order in which what refers to others comes after them.
async fn contents(
    caller: &Caller<'_>,
    pool_id: &str,
    node: &Node,
    report: &mut Report,
) -> Result<(), SeedError> {
    for server in node.list(RESOURCE_SERVERS.list) {
        resources::resource_server(caller, pool_id, server, report).await?;
    }
    for provider in node.list(IDENTITY_PROVIDERS.list) {
        resources::identity_provider(caller, pool_id, provider, report).await?;
    }
    for group in node.list(GROUPS.list) {
        resources::group(caller, pool_id, group, report).await?;
    }
    for client in node.list(CLIENTS.list) {
        clients::client(caller, pool_id, client, report).await?;
    }
    for domain in node.list(DOMAINS.list) {
        resources::domain(caller, pool_id, domain, report).await?;
    }
    for user in node.list(USERS.list) {
        users::user(caller, pool_id, user, report).await?;
    }
    Ok(())
}

async fn describe(
    caller: &Caller<'_>,
    pool_id: &str,
) -> Result<Option<Map<String, Json>>, ApiError> {
    let body = Map::from_iter([("UserPoolId".to_owned(), Json::from(pool_id))]);
    let answer = submit!(caller, DescribeUserPool, pools::describe_user_pool, &body);
    Ok(found(answer)?.map(|answer| member(&answer, "UserPool")))
}

/// The one pool of that name.
async fn by_name(caller: &Caller<'_>, node: &Node) -> Result<Option<Map<String, Json>>, SeedError> {
    let name = node.text("PoolName").unwrap_or_default();
    let mut found = Vec::new();
    let mut next_token = None;
    loop {
        let input = types::ListUserPoolsRequest { max_results: Some(60), next_token };
        let page = conclave_identity::pools::list_user_pools(caller.world, &caller.call, input);
        let page = page.await.map_err(refused(node))?;
        let named = page.user_pools.into_iter().filter(|pool| pool.name.as_deref() == Some(name));
        found.extend(named.filter_map(|pool| pool.id));
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
    }
    match found.as_slice() {
        [] => Ok(None),
        [id] => describe(caller, id).await.map_err(refused(node)),
        _ => {
            let text = format!("there is more than one pool {name}: say which by its Id");
            Err(SeedError::at(node.line_of("PoolName"), text))
        }
    }
}

async fn create(
    caller: &Caller<'_>,
    declared: &Map<String, Json>,
    chosen: Option<&str>,
) -> Result<String, ApiError> {
    let input = super::call::input::<conclave_api::ops::CreateUserPool>(declared)?;
    let (world, call) = (caller.world, &caller.call);
    let made = match chosen {
        Some(id) => conclave_identity::pools::create_user_pool_as(world, call, input, id).await?,
        None => conclave_identity::pools::create_user_pool(world, call, input).await?,
    };
    Ok(made.user_pool.and_then(|pool| pool.id).unwrap_or_default())
}

/// Answers the names of what has been changed.
async fn update(
    caller: &Caller<'_>,
    node: &Node,
    declared: &Map<String, Json>,
    described: &Map<String, Json>,
) -> Result<Vec<String>, SeedError> {
    let mut described = described.clone();
    // the one member with two names
    if let Some(name) = described.get("Name").cloned() {
        described.insert("PoolName".to_owned(), name);
    }
    // where it is not described, names differ by case
    described.entry("UsernameConfiguration").or_insert_with(|| json!({ "CaseSensitive": true }));
    let mut declared = declared.clone();
    declared.remove("Schema");
    let new_attributes = new_attributes(node, &described)?;
    let mut changed = compare::differences(&declared, &described);
    let is_for_good = |name: &&String| !compare::has_member("UpdateUserPool", name);
    if let Some(name) = changed.iter().find(is_for_good) {
        return Err(for_good(node, name));
    }
    let pool_id = described.get("Id").cloned().unwrap_or_default();
    if !changed.is_empty() {
        without_older_names(&declared, &mut described);
        declared.insert("UserPoolId".to_owned(), pool_id.clone());
        let body = compare::update_body("UpdateUserPool", &declared, &described);
        let answer = submit!(caller, UpdateUserPool, pools::update_user_pool, &body);
        answer.map_err(refused(node))?;
    }
    if !new_attributes.is_empty() {
        let body = Map::from_iter([
            ("UserPoolId".to_owned(), pool_id),
            ("CustomAttributes".to_owned(), Json::from(new_attributes)),
        ]);
        let answer = submit!(caller, AddCustomAttributes, pools::add_custom_attributes, &body);
        answer.map_err(refused(node))?;
        changed.push("Schema".to_owned());
    }
    Ok(changed)
}

/// Some settings have two names, and an update takes only one of them: what is described under the other would contradict what is declared.
fn without_older_names(declared: &Map<String, Json>, described: &mut Map<String, Json>) {
    const TEMPLATE: &str = "VerificationMessageTemplate";
    const OLDER: [&str; 3] =
        ["SmsVerificationMessage", "EmailVerificationMessage", "EmailVerificationSubject"];
    if declared.contains_key(TEMPLATE) {
        OLDER.iter().for_each(|name| drop(described.remove(*name)));
    } else if OLDER.iter().any(|name| declared.contains_key(*name)) {
        described.remove(TEMPLATE);
    }
    let says_days = declared
        .get("AdminCreateUserConfig")
        .is_some_and(|config| config.get("UnusedAccountValidityDays").is_some());
    let (table, days) = match says_days {
        true => ("/Policies/PasswordPolicy", "TemporaryPasswordValidityDays"),
        false => ("/AdminCreateUserConfig", "UnusedAccountValidityDays"),
    };
    let mut whole = Json::Object(std::mem::take(described));
    if let Some(Json::Object(table)) = whole.pointer_mut(table) {
        table.remove(days);
    }
    if let Json::Object(members) = whole {
        *described = members;
    }
}

/// Declared attributes that the pool does not have.
fn new_attributes(node: &Node, described: &Map<String, Json>) -> Result<Vec<Json>, SeedError> {
    let none = Vec::new();
    let present = described.get("SchemaAttributes").and_then(Json::as_array).unwrap_or(&none);
    let named = |wanted: &str| {
        present.iter().find(|attribute| {
            let name = attribute.get("Name").and_then(Json::as_str).unwrap_or_default();
            name == wanted || name.strip_prefix("custom:") == Some(wanted)
        })
    };
    let mut new = Vec::new();
    for attribute in node.list("Schema") {
        let name = attribute.text("Name").unwrap_or_default();
        let mut wanted = match attribute.to_json() {
            Json::Object(members) => members,
            _ => Map::new(),
        };
        match named(name) {
            None => new.push(Json::Object(wanted)),
            Some(present) => {
                wanted.remove("Name");
                let none = Map::new();
                let present = present.as_object().unwrap_or(&none);
                if let Some(member) = compare::differences(&wanted, present).first() {
                    return Err(for_good(attribute, member));
                }
            }
        }
    }
    Ok(new)
}
