//! App clients: found by a fixed id, or by name.

use conclave_api::{ApiError, types};
use conclave_identity::clients::ALREADY_HAS_SECRET;
use serde_json::{Map, Value as Json};

use super::{
    SeedError,
    apply::{Outcome, Report, for_good, found, refused},
    call::{Caller, member, submit},
    compare,
    form::CLIENTS,
    node::Node,
};

const SECRET: &str = "ClientSecret";

/// An app client.
pub async fn client(
    caller: &Caller<'_>,
    pool_id: &str,
    node: &Node,
    report: &mut Report,
) -> Result<(), SeedError> {
    let chosen = node.text("ClientId");
    let mut declared = CLIENTS.declared(node);
    declared.insert("UserPoolId".to_owned(), Json::from(pool_id));
    let present = match chosen {
        Some(id) => describe(caller, pool_id, id).await.map_err(refused(node))?,
        None => by_name(caller, pool_id, node).await?,
    };
    let (client_id, outcome) = match present {
        None => {
            let made = create(caller, &declared, chosen).await;
            (made.map_err(refused(node))?, Outcome::Created)
        }
        Some(described) => {
            let id = text(&described, "ClientId").to_owned();
            let changed = update(caller, node, declared, &described).await?;
            (id, Outcome::of_changes(changed))
        }
    };
    let name = node.text("ClientName").unwrap_or_default();
    report.add(CLIENTS.what, &format!("{client_id} ({name})"), outcome);
    report.ids.push(format!("app client {client_id} ({name}) of {pool_id}"));
    Ok(())
}

fn text<'a>(members: &'a Map<String, Json>, name: &str) -> &'a str {
    members.get(name).and_then(Json::as_str).unwrap_or_default()
}

async fn describe(
    caller: &Caller<'_>,
    pool_id: &str,
    client_id: &str,
) -> Result<Option<Map<String, Json>>, ApiError> {
    let body = Map::from_iter([
        ("UserPoolId".to_owned(), Json::from(pool_id)),
        ("ClientId".to_owned(), Json::from(client_id)),
    ]);
    let answer = submit!(caller, DescribeUserPoolClient, clients::describe_user_pool_client, &body);
    Ok(found(answer)?.map(|answer| member(&answer, "UserPoolClient")))
}

/// The one client of that name.
async fn by_name(
    caller: &Caller<'_>,
    pool_id: &str,
    node: &Node,
) -> Result<Option<Map<String, Json>>, SeedError> {
    let name = node.text("ClientName").unwrap_or_default();
    let mut found = Vec::new();
    let mut next_token = None;
    loop {
        let input = types::ListUserPoolClientsRequest {
            user_pool_id: Some(pool_id.to_owned()),
            max_results: Some(60),
            next_token,
            ..Default::default()
        };
        let (world, call) = (caller.world, &caller.call);
        let page = conclave_identity::clients::list_user_pool_clients(world, call, input);
        let page = page.await.map_err(refused(node))?;
        let clients = page.user_pool_clients.into_iter();
        let named = clients.filter(|client| client.client_name.as_deref() == Some(name));
        found.extend(named.filter_map(|client| client.client_id));
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
    }
    match found.as_slice() {
        [] => Ok(None),
        [id] => describe(caller, pool_id, id).await.map_err(refused(node)),
        _ => {
            let text = format!("there is more than one client {name}: say which by its ClientId");
            Err(SeedError::at(node.line_of("ClientName"), text))
        }
    }
}

async fn create(
    caller: &Caller<'_>,
    declared: &Map<String, Json>,
    chosen: Option<&str>,
) -> Result<String, ApiError> {
    use conclave_identity::clients::{create_user_pool_client, create_user_pool_client_as};
    let input = super::call::input::<conclave_api::ops::CreateUserPoolClient>(declared)?;
    let (world, call) = (caller.world, &caller.call);
    let made = match chosen {
        Some(id) => create_user_pool_client_as(world, call, input, id).await?,
        None => create_user_pool_client(world, call, input).await?,
    };
    Ok(made.user_pool_client.and_then(|client| client.client_id).unwrap_or_default())
}

/// Answers the names of what has been changed.
async fn update(
    caller: &Caller<'_>,
    node: &Node,
    mut declared: Map<String, Json>,
    described: &Map<String, Json>,
) -> Result<Vec<String>, SeedError> {
    let has_secret = described.contains_key(SECRET);
    if declared.remove("GenerateSecret").is_some_and(|wanted| wanted != has_secret) {
        return Err(for_good(node, "GenerateSecret"));
    }
    let secret = declared.remove(SECRET);
    let mut changed = compare::differences(&declared, described);
    if !changed.is_empty() {
        let body = compare::update_body("UpdateUserPoolClient", &declared, described);
        let answer = submit!(caller, UpdateUserPoolClient, clients::update_user_pool_client, &body);
        answer.map_err(refused(node))?;
    }
    if let Some(secret) = secret
        && described.get(SECRET) != Some(&secret)
        && add_secret(caller, described, secret).await.map_err(refused(node))?
    {
        changed.push(SECRET.to_owned());
    }
    Ok(changed)
}

/// Adds a secret beside those that are there. Answers whether it was missing.
async fn add_secret(
    caller: &Caller<'_>,
    described: &Map<String, Json>,
    secret: Json,
) -> Result<bool, ApiError> {
    let mut body = Map::from_iter([(SECRET.to_owned(), secret)]);
    for name in ["UserPoolId", "ClientId"] {
        body.insert(name.to_owned(), described.get(name).cloned().unwrap_or_default());
    }
    let add = submit!(caller, AddUserPoolClientSecret, clients::add_user_pool_client_secret, &body);
    match add {
        Ok(_) => Ok(true),
        Err(error) if error.message == ALREADY_HAS_SECRET => Ok(false),
        Err(error) => Err(error),
    }
}
