//! `conclave account` and `conclave credentials`: the directory of a running cluster.

use std::fs;

use anyhow::{Context, Result};
use conclave_gateway::policy::Policy;
use conclave_identity::directory::{self, NewAccessKey};

use crate::{
    cli::{AccountCommand, CredentialsCommand},
    output, serve,
};

/// Accounts.
pub async fn account(command: AccountCommand) -> Result<()> {
    match command {
        AccountCommand::Create { config, name, id } => {
            let world = serve::connect(&config.config).await?;
            let account = directory::create_account(&world, id.as_deref(), &name).await?;
            output::line(&account.account_id)?;
        }
        AccountCommand::List { config } => {
            let world = serve::connect(&config.config).await?;
            for account in directory::list_accounts(&world).await? {
                output::line(&format!("{}  {}", account.account_id, account.name))?;
            }
        }
    }
    Ok(())
}

/// Access keys.
pub async fn credentials(command: CredentialsCommand) -> Result<()> {
    match command {
        CredentialsCommand::Create { config, account, user, policy } => {
            let policy_json = match policy {
                Some(path) => {
                    let text = fs::read_to_string(&path)
                        .with_context(|| format!("cannot read {}", path.display()))?;
                    Policy::parse(&text)
                        .with_context(|| format!("{} is no policy", path.display()))?;
                    text
                }
                None => String::new(),
            };
            let world = serve::connect(&config.config).await?;
            let new = NewAccessKey {
                account_id: account,
                principal: format!("user/{user}"),
                policy_json,
                given: None,
            };
            let key = directory::create_access_key(&world, new).await?;
            output::line(&format!(
                "AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}",
                key.record.access_key_id,
                key.secret.expose()
            ))?;
        }
        CredentialsCommand::List { config } => {
            let world = serve::connect(&config.config).await?;
            for key in directory::list_access_keys(&world).await? {
                let state = if key.active { "active" } else { "inactive" };
                output::line(&format!(
                    "{}  {}  {}  {state}",
                    key.access_key_id, key.account_id, key.principal
                ))?;
            }
        }
        CredentialsCommand::Delete { config, access_key_id } => {
            let world = serve::connect(&config.config).await?;
            directory::delete_access_key(&world, &access_key_id).await?;
        }
    }
    Ok(())
}
