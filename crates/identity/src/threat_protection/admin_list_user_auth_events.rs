//! AdminListUserAuthEvents: the history of a user, the newest event first.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminListUserAuthEvents.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::records::AuthEventRecord;

use super::{check_is_on, history};
use crate::{
    call::Call,
    page_token::{self, List},
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::admin_user,
    world::World,
};

/// Items in a page, at most and by default. Source: API reference, QueryLimitType.
const LIMIT_MAX: usize = 60;

/// Answers AdminListUserAuthEvents. Two reads.
///
/// # Errors
/// As the API declares them.
pub async fn admin_list_user_auth_events(
    world: &World,
    call: &Call,
    input: types::AdminListUserAuthEventsRequest,
) -> Result<types::AdminListUserAuthEventsResponse, ApiError> {
    let given = input.max_results.and_then(|max| usize::try_from(max).ok());
    let list = AdminListUserAuthEvents {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        // 0 is as good as nothing said
        limit: given.filter(|max| *max > 0).unwrap_or(LIMIT_MAX).min(LIMIT_MAX),
        next: input.next_token,
    };
    transact(world, &list).await
}

struct AdminListUserAuthEvents<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    limit: usize,
    next: Option<String>,
}

#[async_trait]
impl Transaction for AdminListUserAuthEvents<'_> {
    type Output = types::AdminListUserAuthEventsResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, &self.username).await?;
        let (pool, world) = (tx.pool()?, tx.world());
        check_is_on(&pool.record)?;
        let principal = pool_access::principal(self.call)?;
        let of = [self.pool_id.as_str(), user.sub.as_str()];
        let list = List { operation: "AdminListUserAuthEvents", principal, of: &of };
        let before = page_token::open(&pool.keyring, list, self.next.as_deref())?;
        tx.load(history::query_all(Query::new(), &user.sub)).await?;
        let mut events = history::all(tx, &user.sub);
        events.retain(|event| before.is_empty() || history::place(event) < before);
        let has_more = events.len() > self.limit;
        events.truncate(self.limit);
        let next_token = match events.last().filter(|_| has_more) {
            Some(last) => {
                Some(page_token::seal(world, &pool.keyring, list, &history::place(last))?)
            }
            None => None,
        };
        let auth_events = events.into_iter().map(describe).collect();
        Ok(types::AdminListUserAuthEventsResponse { auth_events, next_token }.into())
    }
}

fn describe(event: AuthEventRecord) -> types::AuthEventType {
    let challenge = |succeeded: bool| if succeeded { "Success" } else { "Failure" }.to_owned();
    types::AuthEventType {
        event_id: Some(event.event_id),
        event_type: Some(event.r#type),
        creation_date: Some(event.created_ms),
        event_response: Some(event.response),
        event_risk: Some(types::EventRiskType {
            risk_decision: Some(event.risk_decision),
            risk_level: Some(event.risk_level).filter(|level| !level.is_empty()),
            compromised_credentials_detected: event.compromised_credentials,
        }),
        challenge_responses: event
            .challenges
            .into_iter()
            .map(|answered| types::ChallengeResponseType {
                challenge_name: Some(answered.name),
                challenge_response: Some(challenge(answered.succeeded)),
            })
            .collect(),
        event_context_data: Some(types::EventContextDataType {
            ip_address: event.ip_address,
            device_name: event.device_name,
            timezone: event.timezone,
            ..Default::default()
        }),
        event_feedback: event.feedback.map(|feedback| types::EventFeedbackType {
            feedback_value: Some(feedback.value),
            provider: Some(feedback.provider),
            feedback_date: Some(feedback.given_ms),
        }),
    }
}
