//! A user whom another directory knows is made here, when somebody asks for them who cannot be found: at a
//! sign-in with a password, and where a password is reset. What was asked for goes on afterwards, as if the
//! user had been here all along.
//!
//! Guesses at passwords of the other directory count like those at names that no user has.
//! Source: developer guide, "Importing users with a user migration Lambda trigger".

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName};
use conclave_store::{keys, records::UserRecord};

use super::{
    aliases,
    attributes::{self, Writer},
    credentials, index,
    lookup::{self, With},
    mfa_preference, status, username,
};
use crate::{
    auth::{attempts, machine::Factor},
    config::{ClientConfig, PoolConfig},
    errors,
    triggers::{
        Circumstances, Trigger,
        user_migration::{self, Migrated, Wanted},
    },
    tx::{Decision, Failure, Query, Transaction, Tx},
};

/// Whether a pool knows another directory.
pub fn is_possible(pool: &PoolConfig) -> bool {
    Trigger::UserMigration.function(&pool.record).is_some()
}

/// Makes the user of a name that nobody here has, if the other directory knows one. Whether it did shows when
/// the user is looked for again.
pub struct Migrate<'a> {
    /// The pool.
    pub pool_id: &'a str,
    /// The app client.
    pub client_id: &'a str,
    /// The name that was typed in.
    pub username: &'a str,
    /// What for.
    pub wanted: Wanted<'a>,
    /// For the function.
    pub circumstances: Circumstances<'a>,
}

#[async_trait]
impl Transaction for Migrate<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        self.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        self.circumstances
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let query = attempts::query_unknown(Query::new(), tx.world(), self.pool_id, self.username);
        let query = lookup::query(query, self.username, &[With::Nothing]);
        tx.load(query.client(self.client_id)).await?;
        let pool = tx.pool()?;
        let client = tx.client().ok_or_else(|| errors::client_not_found(self.client_id))?;
        if lookup::find(tx, &pool, self.username)?.is_some() {
            return Ok(().into());
        }
        let folded = lookup::folded(&pool, self.username);
        let counter = attempts::of_unknown(tx.world(), pool.id(), &folded);
        attempts::check_lock(tx, &counter)?;
        tx.rely_on_config();
        match user_migration::find(tx, &client, self.username, self.wanted).await {
            Ok(None) => Ok(().into()),
            Ok(Some(migrated)) => self.make(tx, &pool, &client, migrated).await,
            // it does not know the user, or the password is another: as for a name that nobody has
            Err(error) if error.code == ExceptionName::UserLambdaValidationException => {
                if client.hides_users() {
                    return Ok(().into());
                }
                if matches!(self.wanted, Wanted::SignIn(..)) {
                    attempts::count(tx, counter)?;
                }
                Err(Failure::RefusedAfterCommit(not_migrated(&client)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Migrate<'_> {
    async fn make(
        &self,
        tx: &mut Tx<'_>,
        pool: &PoolConfig,
        client: &ClientConfig,
        migrated: Migrated,
    ) -> Decision<()> {
        let Migrated { username: name, mut values, keeps_password, .. } = migrated;
        let name = name.unwrap_or_else(|| self.username.to_owned());
        let sub = tx.memo().sub(tx.world()).to_owned();
        attributes::check_permission(Writer::Admin, values.keys())?;
        let username = username::of_new_user(pool, &name, &sub, &mut values)?;
        attributes::check_schema(&pool.record, &mut values, false)?;
        username::check_preferred(pool, &values)?;
        attributes::add_unverified_flags(&mut values);
        let query = lookup::query(Query::new(), &name, &[With::Nothing]);
        tx.load(aliases::query(query, &values).client(self.client_id)).await?;
        let is_confirmed = keeps_password && matches!(self.wanted, Wanted::SignIn(..));
        let status = if is_confirmed { status::CONFIRMED } else { status::RESET_REQUIRED };
        let mut user = UserRecord {
            sub,
            username,
            status: status.to_owned(),
            enabled: true,
            created_ms: tx.now_ms(),
            modified_ms: tx.now_ms(),
            attributes: attributes::in_described_order(&values),
            ..Default::default()
        };
        if migrated.enable_sms_mfa && attributes::value(&user, "phone_number").is_some() {
            mfa_preference::switch_on(&mut user, Factor::Sms);
        }
        if username::is_taken(tx, pool, &user) {
            return Err(not_migrated(client).into());
        }
        let taken = aliases::taken(tx, pool, &user)?;
        let moved = aliases::moved(pool, &taken, migrated.force_alias_creation, tx.now_ms());
        let moved = moved.map_err(|_| not_migrated(client))?;
        if let Wanted::SignIn(password, _) = self.wanted {
            credentials::set_password(tx, &user, password, 0).await?;
        }
        let mut changes = vec![(None, &user)];
        changes.extend(moved.iter().map(|(owner, without)| (Some(owner), without)));
        index::write_users(tx, &changes)?;
        tx.add(keys::user_count(), 1, None, None);
        Ok(().into())
    }
}

/// The text is the service's, from reports of its answer.
fn not_migrated(client: &ClientConfig) -> ApiError {
    let client_id = &client.record.client_id;
    ExceptionName::UserNotFoundException
        .because(format!("Exception migrating user in app client {client_id}"))
}
