//! AdminUpdateAuthEventFeedback: an administrator says whether an event was the user.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminUpdateAuthEventFeedback.html>

use std::net::IpAddr;

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{
    keys,
    records::{AuthEventFeedback, RiskProfileRecord},
};

use super::{check_is_on, history, record, risk};
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
        let profile_row = record::profile_key(&user.sub);
        tx.load(Query::new().get(row.clone()).get(profile_row.clone())).await?;
        let Some(mut event) = history::get(tx, &user.sub, event_id) else {
            // the text is ours
            return Err(ApiError::resource_not_found("The auth event does not exist.").into());
        };
        let now_ms = tx.now_ms();
        let value = self.input.feedback_value.clone().unwrap_or_default();
        let stored = tx.get::<RiskProfileRecord>(&profile_row)?;
        let mut profile = stored.map(|stored| stored.record).unwrap_or_default();
        let address = event.ip_address.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
        // what an administrator says of an event counts for the next one
        if value == "Valid" {
            risk::learn(&mut profile, address, &event.device_hash, now_ms);
        } else {
            risk::forget(&mut profile, address, &event.device_hash);
        }
        let provider = "Admin".to_owned();
        event.feedback = Some(AuthEventFeedback { value, provider, given_ms: now_ms });
        tx.rely_on_root(keys::user(&user.sub));
        tx.put(profile_row, &profile);
        tx.put_expiring(row, &event, event.created_ms + history::KEPT_MS);
        Ok(types::AdminUpdateAuthEventFeedbackResponse::default().into())
    }
}
