//! ForgotPassword: a person who cannot sign in asks for a code that sets a new password.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::records::UserRecord;

use super::{
    app_request::AppRequest,
    codes::{self, CodePurpose, Limited},
    confirm_sign_up::combination_not_found,
    delivery::{self, Destination},
    lookup::{self, With},
    migrate::{self, Migrate},
    status,
};
use crate::{
    call::Call,
    config::PoolConfig,
    errors,
    threat_protection::{context::Context, record},
    triggers::{
        self, Circumstances,
        custom_message::{self, Reason},
        user_migration::Wanted,
    },
    tx::{Decision, Query, Transaction, Tx, transact_until},
    world::World,
};

/// Sends a code to a verified address of the user. One read and one commit; for users who do not exist,
/// or cannot reset their password, as well, where the client hides who exists.
///
/// # Errors
/// Those of the API reference.
pub async fn forgot_password(
    world: &World,
    call: &Call,
    input: types::ForgotPasswordRequest,
) -> Result<types::ForgotPasswordResponse, ApiError> {
    let context = Context::of_app(call.peer, input.user_context_data.as_ref());
    let request =
        AppRequest::new(world, input.client_id, input.username, input.secret_hash).await?;
    let request = request.with_metadata(input.client_metadata);
    let mut forgot =
        ForgotPassword { request, is_migration_over: false, event_id: &call.request_id, context };
    let until = triggers::until();
    if let Some(response) = transact_until(world, &forgot, until).await? {
        return Ok(response);
    }
    let migrate = Migrate {
        pool_id: &forgot.request.pool_id,
        client_id: forgot.request.client_id(),
        username: &forgot.request.username,
        wanted: Wanted::Reset,
        circumstances: forgot.request.circumstances(),
    };
    Box::pin(transact_until(world, &migrate, until)).await?;
    forgot.is_migration_over = true;
    let response = transact_until(world, &forgot, until).await?;
    response.ok_or_else(|| errors::internal("a user is to be migrated twice"))
}

struct ForgotPassword<'a> {
    request: AppRequest,
    /// The other directory has been asked, if there is one.
    is_migration_over: bool,
    event_id: &'a str,
    context: Context,
}

#[async_trait]
impl Transaction for ForgotPassword<'_> {
    /// None when the other directory is to be asked first.
    type Output = Option<types::ForgotPasswordResponse>;

    fn scope(&self) -> &str {
        &self.request.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        self.request.circumstances()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let username = &self.request.username;
        let query = lookup::query(Query::new(), username, &[With::Nothing]);
        let (pool, client) = self.request.load(tx, query).await?;
        record::at_the_door(tx, &client, &self.context, None).await?;
        // before the user is looked at, so that it does not tell who exists
        if delivery::recovery_channels(&pool).is_empty() {
            return Err(ApiError::not_authorized("Contact administrator to reset password.").into());
        }
        let found = lookup::find(tx, &pool, username)?;
        if found.is_none() && !self.is_migration_over && migrate::is_possible(&pool) {
            return Ok(None.into());
        }
        let recoverable = match &found {
            None => Err(combination_not_found()),
            Some(found) => destination(&pool, &found.user.record),
        };
        let mut sub = None;
        let details = match (recoverable, found) {
            (Ok(destination), Some(found)) => {
                let user = found.user.record;
                sub = Some(user.sub.clone());
                codes::count(tx, &user.sub, Limited::ForgotPassword);
                let code = codes::issue(tx, &user, CodePurpose::ResetPassword, &destination)?;
                let message = delivery::password_reset(&pool, &user, &destination, &code);
                let draft =
                    custom_message::draft(tx, Reason::ForgotPassword, &user, message, None)?;
                delivery::hand_over(tx, &client, draft);
                destination.details()
            }
            (Err(refusal), _) if !client.hides_users() => return Err(refusal.into()),
            _ => {
                codes::count_unknown(tx, &pool, username, Limited::ForgotPassword);
                codes::remember_simulated_reset(tx, &pool, username);
                let details = delivery::simulated_recovery(&pool, username);
                tx.pretend(delivery::channel_of(&details));
                details
            }
        };
        let event = ("ForgotPassword", self.event_id);
        let who = (sub.as_deref(), username.as_str());
        record::done(tx, &client, who, event, &self.context, None).await?;
        let response = types::ForgotPasswordResponse { code_delivery_details: Some(details) };
        Ok(Some(response).into())
    }
}

/// Where the code for this user goes.
///
/// # Errors
/// NotAuthorizedException for users who are disabled, or whose password is not their own;
/// InvalidParameterException for those without a verified address.
pub(super) fn destination(pool: &PoolConfig, user: &UserRecord) -> Result<Destination, ApiError> {
    status::check_enabled(user.enabled)?;
    status::check_can_be_reset(&user.status)?;
    delivery::of_recovery(pool, user).ok_or_else(status::no_recovery_address)
}
