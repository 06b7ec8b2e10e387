//! Users, their passwords, and the groups that they are in.

use conclave_api::{ApiError, types};
use conclave_crypto::secret::SecretString;
use conclave_identity::users::{admin_create_user, admin_create_user_as, compare_password};
use serde_json::{Map, Value as Json};

use super::{
    SeedError,
    apply::{Outcome, Report, for_good, found, refused},
    call::{Caller, submit, whole},
    form::USERS,
    node::{Node, Value},
};

const PASSWORD: &str = "Password";

/// A user of a pool.
pub async fn user(
    caller: &Caller<'_>,
    pool_id: &str,
    node: &Node,
    report: &mut Report,
) -> Result<(), SeedError> {
    if node.get(PASSWORD).is_some() && node.get("TemporaryPassword").is_some() {
        let text = "a user has a Password or a TemporaryPassword, not both";
        return Err(SeedError::at(node.line_of(PASSWORD), text));
    }
    let username = node.text("Username").unwrap_or_default();
    let named = Map::from_iter([
        ("UserPoolId".to_owned(), Json::from(pool_id)),
        ("Username".to_owned(), Json::from(username)),
    ]);
    let answer = submit!(caller, AdminGetUser, users::admin_get_user, &named);
    let present = found(answer).map_err(refused(node))?.map(|answer| whole(&answer));
    let is_new = present.is_none();
    let described = match present {
        Some(described) => described,
        None => {
            create(caller, pool_id, node).await.map_err(refused(node))?;
            let answer = submit!(caller, AdminGetUser, users::admin_get_user, &named);
            whole(&answer.map_err(refused(node))?)
        }
    };
    let mut changed = Vec::new();
    if !is_new {
        changed.extend(attributes(caller, &named, node, &described).await?);
    }
    let user = User { caller, pool_id, username, node, named: &named };
    changed.extend(user.password().await?);
    changed.extend(user.enabled(&described).await?);
    changed.extend(user.groups().await?);
    let outcome = if is_new { Outcome::Created } else { Outcome::of_changes(changed) };
    report.add(USERS.what, username, outcome);
    Ok(())
}

async fn create(caller: &Caller<'_>, pool_id: &str, node: &Node) -> Result<(), ApiError> {
    let mut body = USERS.declared(node);
    body.insert("UserPoolId".to_owned(), Json::from(pool_id));
    body.insert("MessageAction".to_owned(), Json::from("SUPPRESS"));
    let input = super::call::input::<conclave_api::ops::AdminCreateUser>(&body)?;
    let (world, call) = (caller.world, &caller.call);
    match node.text("Sub") {
        Some(sub) => admin_create_user_as(world, call, input, sub).await?,
        None => admin_create_user(world, call, input).await?,
    };
    Ok(())
}

/// Changes the declared attributes that are others.
async fn attributes(
    caller: &Caller<'_>,
    named: &Map<String, Json>,
    node: &Node,
    described: &Map<String, Json>,
) -> Result<Option<String>, SeedError> {
    let none = Vec::new();
    let present = described.get("UserAttributes").and_then(Json::as_array).unwrap_or(&none);
    let value = |name: &str| {
        let named = |attribute: &&Json| attribute.get("Name").and_then(Json::as_str) == Some(name);
        present.iter().find(named).and_then(|found| found.get("Value")).and_then(Json::as_str)
    };
    if node.text("Sub").is_some_and(|sub| value("sub") != Some(sub)) {
        return Err(for_good(node, "Sub"));
    }
    let is_other = |wanted: &&Node| {
        wanted.text("Name").and_then(value) != Some(wanted.text("Value").unwrap_or(""))
    };
    let wanted = node.list("UserAttributes");
    let mut others: Vec<&Node> = wanted.iter().filter(is_other).collect();
    if others.is_empty() {
        return Ok(None);
    }
    // a new address counts as verified only when the same request says so
    for (address, verified) in
        [("email", "email_verified"), ("phone_number", "phone_number_verified")]
    {
        let has = |list: &[&Node], name| list.iter().any(|node| node.text("Name") == Some(name));
        if has(&others, address) && !has(&others, verified) {
            others.extend(wanted.iter().find(|node| node.text("Name") == Some(verified)));
        }
    }
    let mut body = named.clone();
    let list = others.iter().map(|attribute| attribute.to_json());
    body.insert("UserAttributes".to_owned(), Json::from_iter(list));
    let answer =
        submit!(caller, AdminUpdateUserAttributes, users::admin_update_user_attributes, &body);
    answer.map_err(refused(node))?;
    Ok(Some("UserAttributes".to_owned()))
}

struct User<'a> {
    caller: &'a Caller<'a>,
    pool_id: &'a str,
    username: &'a str,
    node: &'a Node,
    named: &'a Map<String, Json>,
}

impl User<'_> {
    /// Sets the declared password unless it is the user's. A temporary one is the first that a user has: it is not set again.
    async fn password(&self) -> Result<Option<String>, SeedError> {
        let Some(password) = self.node.text(PASSWORD) else { return Ok(None) };
        let Caller { world, call } = self.caller;
        let secret = SecretString::new(password.to_owned());
        let state = compare_password(world, call, self.pool_id, self.username, &secret).await;
        let state = state.map_err(refused(self.node))?;
        if state.matches && !state.is_temporary {
            return Ok(None);
        }
        let mut body = self.named.clone();
        body.insert(PASSWORD.to_owned(), Json::from(password));
        body.insert("Permanent".to_owned(), Json::from(true));
        let answer =
            submit!(self.caller, AdminSetUserPassword, users::admin_set_user_password, &body);
        let line = self.node.line_of(PASSWORD);
        answer.map_err(|error| SeedError::at(line, error.to_string()))?;
        Ok(Some(PASSWORD.to_owned()))
    }

    async fn enabled(&self, described: &Map<String, Json>) -> Result<Option<String>, SeedError> {
        let Some(Value::Bool(wanted)) = self.node.get("Enabled").map(|entry| &entry.node.value)
        else {
            return Ok(None);
        };
        if described.get("Enabled") == Some(&Json::from(*wanted)) {
            return Ok(None);
        }
        let body = self.named;
        let answer = match wanted {
            true => submit!(self.caller, AdminEnableUser, users::admin_enable_user, body).map(drop),
            false => {
                submit!(self.caller, AdminDisableUser, users::admin_disable_user, body).map(drop)
            }
        };
        answer.map_err(refused(self.node))?;
        Ok(Some("Enabled".to_owned()))
    }

    /// Adds the user to the declared groups; from others nobody is taken.
    async fn groups(&self) -> Result<Option<String>, SeedError> {
        let Some(wanted) = self.node.get("Groups") else { return Ok(None) };
        let present = self.present_groups().await.map_err(refused(self.node))?;
        let mut changed = None;
        for group in wanted.node.items() {
            let Value::Text(name) = &group.value else { continue };
            if present.contains(name) {
                continue;
            }
            let mut body = self.named.clone();
            body.insert("GroupName".to_owned(), Json::from(name.as_str()));
            let answer =
                submit!(self.caller, AdminAddUserToGroup, groups::admin_add_user_to_group, &body);
            answer.map_err(|error| SeedError::at(group.line, error.to_string()))?;
            changed = Some("Groups".to_owned());
        }
        Ok(changed)
    }

    async fn present_groups(&self) -> Result<Vec<String>, ApiError> {
        let mut names = Vec::new();
        let mut next_token = None;
        loop {
            let input = types::AdminListGroupsForUserRequest {
                user_pool_id: Some(self.pool_id.to_owned()),
                username: Some(self.username.to_owned()),
                limit: Some(60),
                next_token,
            };
            let Caller { world, call } = self.caller;
            let page =
                conclave_identity::groups::admin_list_groups_for_user(world, call, input).await?;
            names.extend(page.groups.into_iter().filter_map(|group| group.group_name));
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(names);
            }
        }
    }
}
