//! Accounts, and the access keys of their principals.

use conclave_api::ApiError;
use conclave_crypto::secret::SecretString;
use conclave_gateway::policy::Policy;
use conclave_identity::{
    directory::{self, NewAccessKey},
    world::World,
};

use super::{
    SeedError,
    apply::{Outcome, Report, refused},
    form::{ACCESS_KEYS, ACCOUNTS},
    node::Node,
};

/// An account with its access keys.
pub async fn account(world: &World, node: &Node, report: &mut Report) -> Result<(), SeedError> {
    let account_id = node.text("AccountId").unwrap_or_default();
    let name = node.text("Name").unwrap_or_default();
    let present = directory::find_account(world, account_id).await.map_err(refused(node))?;
    let outcome = match present {
        Some(present) if name == present.name || node.get("Name").is_none() => Outcome::Unchanged,
        Some(_) => {
            directory::rename_account(world, account_id, name).await.map_err(refused(node))?;
            Outcome::Updated(vec!["Name".to_owned()])
        }
        None => {
            let made = directory::create_account(world, Some(account_id), name).await;
            made.map_err(refused(node))?;
            Outcome::Created
        }
    };
    report.add(ACCOUNTS.what, account_id, outcome);
    for key in node.list(ACCESS_KEYS.list) {
        let id = key.text("AccessKeyId").unwrap_or_default();
        report.add(ACCESS_KEYS.what, id, access_key(world, account_id, key).await?);
    }
    Ok(())
}

async fn access_key(world: &World, account_id: &str, node: &Node) -> Result<Outcome, SeedError> {
    let id = node.text("AccessKeyId").unwrap_or_default();
    let secret = node.text("SecretAccessKey").unwrap_or_default();
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if id.is_empty() || id.len() > 128 || !id.bytes().all(is_id) {
        let text = "AccessKeyId has 1 to 128 letters, digits and underscores";
        return Err(SeedError::at(node.line_of("AccessKeyId"), text));
    }
    if secret.is_empty() {
        return Err(SeedError::at(node.line_of("SecretAccessKey"), "SecretAccessKey is empty"));
    }
    let policy_json = node.text("Policy").unwrap_or_default();
    if !policy_json.is_empty() {
        let line = node.line_of("Policy");
        Policy::parse(policy_json).map_err(|error| SeedError::at(line, error.to_string()))?;
    }
    let user = node.text("UserName").unwrap_or("root");
    let new = NewAccessKey {
        account_id: account_id.to_owned(),
        principal: format!("user/{user}"),
        policy_json: policy_json.to_owned(),
        given: Some((id.to_owned(), SecretString::new(secret.to_owned()))),
    };
    let present = directory::find_access_key(world, id).await.map_err(refused(node))?;
    let Some(present) = present else {
        directory::create_access_key(world, new).await.map_err(refused(node))?;
        return Ok(Outcome::Created);
    };
    if present.record.account_id != account_id {
        let error = ApiError::invalid_parameter("there is an access key with this id");
        return Err(refused(node)(error));
    }
    let mut changed = Vec::new();
    if present.secret.expose() != secret {
        changed.push("SecretAccessKey".to_owned());
    }
    if present.record.principal != new.principal {
        changed.push("UserName".to_owned());
    }
    if present.record.policy_json != new.policy_json {
        changed.push("Policy".to_owned());
    }
    if !changed.is_empty() {
        directory::replace_access_key(world, new).await.map_err(refused(node))?;
    }
    Ok(Outcome::of_changes(changed))
}
