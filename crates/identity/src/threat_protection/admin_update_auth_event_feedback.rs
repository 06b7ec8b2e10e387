//! AdminUpdateAuthEventFeedback: an administrator says whether an event was the user.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminUpdateAuthEventFeedback.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{check_is_on, feedback, history, record};
use crate::{
    call::Call,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::admin_user,
    world::World,
};

/// Answers AdminUpdateAuthEventFeedback. Two reads and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn admin_update_auth_event_feedback(
    world: &World,
    call: &Call,
    input: types::AdminUpdateAuthEventFeedbackRequest,
) -> Result<types::AdminUpdateAuthEventFeedbackResponse, ApiError> {
    transact(world, &AdminUpdateAuthEventFeedback { call, input: &input }).await
}

struct AdminUpdateAuthEventFeedback<'a> {
    call: &'a Call,
    input: &'a types::AdminUpdateAuthEventFeedbackRequest,
}

#[async_trait]
impl Transaction for AdminUpdateAuthEventFeedback<'_> {
    type Output = types::AdminUpdateAuthEventFeedbackResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let username = self.input.username.as_deref().unwrap_or_default();
        let user = admin_user::load(tx, self.call, username).await?;
        check_is_on(&tx.pool()?.record)?;
        let event_id = self.input.event_id.as_deref().unwrap_or_default();
        let row = history::key(&user.sub, event_id);
        tx.load(Query::new().get(row).get(record::profile_key(&user.sub))).await?;
        let event = history::get(tx, &user.sub, event_id).ok_or_else(feedback::event_not_found)?;
        let value = self.input.feedback_value.clone().unwrap_or_default();
        feedback::give(tx, &user.sub, event, value, "Admin")?;
        Ok(types::AdminUpdateAuthEventFeedbackResponse::default().into())
    }
}
