//! UpdateAuthEventFeedback: a user says whether an event was theirs, by the token in the message about it.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UpdateAuthEventFeedback.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::keys;

use super::{check_is_on, feedback, history, record};
use crate::{
    call::Call,
    errors, issuer,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::lookup::{self, With},
    world::World,
};

/// Answers UpdateAuthEventFeedback. Two reads and one commit.
///
/// Nothing is told of users before the token is known to be one of the pool. Then a name that is not that of the token's user is
/// refused in the same way whether anybody has it or not.
///
/// # Errors
/// ResourceNotFoundException when there is no such pool, or the event is gone; UserPoolAddOnNotEnabledException;
/// NotAuthorizedException for a token that is not of this user and event, or no longer good; UserNotFoundException when the token's
/// user is gone. OperationNotEnabledException is about replicas in other regions. The texts are ours.
pub async fn update_auth_event_feedback(
    world: &World,
    _call: &Call,
    input: types::UpdateAuthEventFeedbackRequest,
) -> Result<types::UpdateAuthEventFeedbackResponse, ApiError> {
    update_auth_event_feedback_by_link(world, input).await
}

/// The same, by the page behind the links of the message.
///
/// # Errors
/// As [`update_auth_event_feedback`].
pub async fn update_auth_event_feedback_by_link(
    world: &World,
    input: types::UpdateAuthEventFeedbackRequest,
) -> Result<types::UpdateAuthEventFeedbackResponse, ApiError> {
    let pool_id = input.user_pool_id.as_deref().unwrap_or_default();
    // what is no pool is no scope to read in
    if !issuer::is_pool_id(pool_id) {
        return Err(errors::user_pool_not_found(pool_id));
    }
    transact(world, &UpdateAuthEventFeedback { input: &input }).await
}

struct UpdateAuthEventFeedback<'a> {
    input: &'a types::UpdateAuthEventFeedbackRequest,
}

#[async_trait]
impl Transaction for UpdateAuthEventFeedback<'_> {
    type Output = types::UpdateAuthEventFeedbackResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let username = self.input.username.as_deref().unwrap_or_default();
        tx.load(lookup::query(Query::new(), username, &[With::Nothing])).await?;
        let pool = tx.pool()?;
        check_is_on(&pool.record)?;
        let token = self.input.feedback_token.as_deref().unwrap_or_default();
        let opened = feedback::open(&pool, token).ok_or_else(invalid)?;
        if Some(opened.event_id.as_str()) != self.input.event_id.as_deref() {
            return Err(invalid().into());
        }
        if !opened.is_good(&pool, tx.now_ms()) {
            return Err(ApiError::not_authorized("The feedback token has expired.").into());
        }
        let user_row = keys::user(&opened.sub);
        let rows = Query::new()
            .get(user_row.clone())
            .get(history::key(&opened.sub, &opened.event_id))
            .get(record::profile_key(&opened.sub));
        tx.load(rows).await?;
        if tx.get_bytes(&user_row).is_none() {
            return Err(errors::user_not_found().into());
        }
        let found = lookup::find(tx, &pool, username)?;
        if found.is_none_or(|found| found.sub() != opened.sub) {
            return Err(invalid().into());
        }
        let event = history::get(tx, &opened.sub, &opened.event_id);
        let event = event.ok_or_else(feedback::event_not_found)?;
        let value = self.input.feedback_value.clone().unwrap_or_default();
        feedback::give(tx, &opened.sub, event, value, "User")?;
        Ok(types::UpdateAuthEventFeedbackResponse::default().into())
    }
}

fn invalid() -> ApiError {
    ApiError::not_authorized("Invalid feedback token.")
}
