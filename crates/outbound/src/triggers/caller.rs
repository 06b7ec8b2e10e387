//! Calls functions by HTTP: within a time, several times, and not too many at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ::http::StatusCode;
use async_trait::async_trait;
use bytes::Bytes;
use conclave_crypto::encoding;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{
    Invocation, InvokeError, Place, Triggers, Wait,
    egress::Egress,
    http::{Answer, Begun, Client, Target},
    settings::{SettingsError, TriggerSettings, matches},
    shares::Shares,
    webhook,
};
use crate::{Clock, aws::Signer};

const JSON: &str = "application/json";
/// The same for all tries of a call.
const INVOCATION_ID: &str = "conclave-invocation-id";
/// The pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
/// What a function says of its failure is passed on up to so many characters.
const MESSAGE_CHARS_MAX: usize = 1_024;
/// Places in the queue, for each call that may be under way.
const QUEUE: usize = 4;

/// One function has this part of all places, and of the queue.
pub(super) const SHARE: usize = 4;

/// See the module. Connects when the first call comes.
pub struct Caller {
    client: Client,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    tries: u32,
    places: Semaphore,
    shares: Shares,
    queue: Arc<Semaphore>,
    queue_shares: Shares,
    lambda: Option<Lambda>,
    webhooks: HashMap<String, Hook>,
}

struct Lambda {
    target: Target,
    signer: Signer,
    functions: Vec<String>,
}

struct Hook {
    target: Target,
    secret: String,
}

impl Caller {
    /// Signatures are made at the time of `clock`.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(settings: TriggerSettings, clock: Arc<dyn Clock>) -> Result<Self, SettingsError> {
        settings.check()?;
        let plain = settings.allows_plain_http;
        let lambda = match settings.lambda {
            None => None,
            Some(endpoint) => Some(Lambda {
                target: Target::parse(endpoint.url.trim_end_matches('/'), plain)?,
                signer: Signer {
                    access_key_id: endpoint.access_key_id,
                    secret_access_key: endpoint.secret_access_key,
                    region: endpoint.region,
                    service: "lambda",
                },
                functions: endpoint.functions,
            }),
        };
        let mut webhooks = HashMap::new();
        for hook in settings.webhooks {
            let target = Target::parse(&hook.url, plain)?;
            let hook_of = Hook { target, secret: hook.secret };
            if webhooks.insert(hook.arn.clone(), hook_of).is_some() {
                return Err(SettingsError::Twice(hook.arn));
            }
        }
        let concurrency = settings.concurrency as usize;
        let egress = Egress::new(settings.networks);
        Ok(Self {
            client: Client::new(egress, settings.ca.as_deref(), settings.answer_bytes_max)?,
            clock,
            timeout: settings.timeout,
            tries: settings.tries,
            places: Semaphore::new(concurrency),
            shares: Shares::new(concurrency.div_ceil(SHARE)),
            queue: Arc::new(Semaphore::new(concurrency * QUEUE)),
            queue_shares: Shares::new((concurrency * QUEUE).div_ceil(SHARE)),
            lambda,
            webhooks,
        })
    }

    async fn once(&self, invocation: &Invocation) -> Result<Bytes, InvokeError> {
        if let Some(hook) = self.webhooks.get(&invocation.function) {
            return self.post_to(hook, invocation).await;
        }
        let lambda = self.lambda.as_ref().filter(|lambda| {
            lambda.functions.iter().any(|pattern| matches(pattern, &invocation.function))
        });
        self.invoke_at(lambda.ok_or(InvokeError::NotConfigured)?, invocation).await
    }

    /// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
    async fn invoke_at(
        &self,
        lambda: &Lambda,
        invocation: &Invocation,
    ) -> Result<Bytes, InvokeError> {
        let target = &lambda.target;
        let name = encoding::percent(&invocation.function);
        let base = target.path.trim_end_matches('/');
        let path = format!("{base}/2015-03-31/functions/{name}/invocations");
        // a signature is over the path encoded twice, but for S3
        let canonical =
            format!("{base}/2015-03-31/functions/{}/invocations", encoding::percent(&name));
        let body = std::str::from_utf8(&invocation.event)
            .map_err(|_| InvokeError::Unreachable("the event is no text"))?;
        let kind = match invocation.wait {
            Wait::Answer => "RequestResponse",
            Wait::TakenOver => "Event",
        };
        let signed = lambda.signer.sign_with(
            &target.authority,
            &canonical,
            JSON,
            &[("x-amz-invocation-type", kind)],
            body,
            self.clock.now_ms(),
        );
        let headers = [
            ("content-type", JSON.to_owned()),
            ("x-amz-date", signed.date),
            ("authorization", signed.authorization),
            ("x-amz-invocation-type", kind.to_owned()),
            (INVOCATION_ID, invocation.id.clone()),
        ];
        let answer = self.client.post(target, &path, &headers, invocation.event.clone()).await?;
        let answer = waited(answer, invocation.wait).await?;
        if answer.status.is_success() {
            return returned(answer);
        }
        let kind = answer.headers.get("x-amzn-errortype").and_then(|kind| kind.to_str().ok());
        let kind = kind.map(|kind| kind.split(':').next().unwrap_or_default().to_owned());
        Err(refused(answer.status, kind.filter(|kind| !kind.is_empty())))
    }

    async fn post_to(&self, hook: &Hook, invocation: &Invocation) -> Result<Bytes, InvokeError> {
        let timestamp = self.clock.now_ms().div_euclid(1_000).to_string();
        let signature = webhook::sign(&hook.secret, &timestamp, &invocation.event);
        let headers = [
            ("content-type", JSON.to_owned()),
            (webhook::TIMESTAMP, timestamp),
            (webhook::SIGNATURE, signature),
            (INVOCATION_ID, invocation.id.clone()),
        ];
        let (target, event) = (&hook.target, invocation.event.clone());
        let answer = self.client.post(target, &target.path, &headers, event).await?;
        let answer = waited(answer, invocation.wait).await?;
        if answer.status.is_success() {
            return returned(answer);
        }
        if answer.status.is_client_error()
            && let Some(message) = message(&answer.body)
        {
            return Err(InvokeError::Failed(message));
        }
        // a function that says no more has judged what it was asked; other statuses are of what is before it
        if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) {
            return Err(InvokeError::Failed(format!("HTTP {}", answer.status.as_u16())));
        }
        Err(refused(answer.status, None))
    }
}

/// What is waited for. A call that is taken over is so by its status: what comes with that does not matter, and whoever
/// waited for it could call twice.
async fn waited(answer: Begun, wait: Wait) -> Result<Answer, InvokeError> {
    let status = answer.status();
    match wait {
        Wait::Answer => answer.whole().await,
        Wait::TakenOver if status.is_success() => Ok(Answer::without_body(status)),
        Wait::TakenOver => match answer.whole().await {
            Err(InvokeError::TooLong) => Ok(Answer::without_body(status)),
            answer => answer,
        },
    }
}

/// What a function has returned, unless it has thrown.
fn returned(answer: Answer) -> Result<Bytes, InvokeError> {
    if answer.headers.contains_key("x-amz-function-error") {
        let message = message(&answer.body).unwrap_or_else(|| "Unhandled".to_owned());
        return Err(InvokeError::Failed(message));
    }
    Ok(answer.body)
}

/// What an answer other than success means: a redirect is one that is not followed.
fn refused(status: StatusCode, kind: Option<String>) -> InvokeError {
    match status {
        StatusCode::TOO_MANY_REQUESTS => InvokeError::Unreachable("it is throttled"),
        _ if status.is_server_error() => InvokeError::Unreachable("it answers with an error"),
        _ => InvokeError::Refused(kind.unwrap_or_else(|| format!("HTTP {}", status.as_u16()))),
    }
}

/// `errorMessage`, as runtimes of Lambda report it.
fn message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let message = body.get("errorMessage")?.as_str()?;
    Some(message.chars().take(MESSAGE_CHARS_MAX).collect())
}

impl Caller {
    async fn tried(&self, invocation: &Invocation) -> Result<Bytes, InvokeError> {
        let mut pause = PAUSE;
        let mut left = self.tries;
        loop {
            left -= 1;
            let patience = self.timeout.max(invocation.time.patience());
            let place = tokio::time::timeout(patience, self.places.acquire()).await;
            let Ok(Ok(place)) = place else { return Err(InvokeError::Overloaded) };
            let answer = tokio::time::timeout(self.timeout, self.once(invocation)).await;
            drop(place);
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error @ InvokeError::Unreachable(_))) => error,
                Ok(Err(error)) => return Err(error),
                Err(_) => InvokeError::TimedOut,
            };
            if left == 0 {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

#[async_trait]
impl Triggers for Caller {
    async fn invoke(&self, invocation: Invocation) -> Result<Bytes, InvokeError> {
        let time = invocation.time;
        let share = self.shares.take(&invocation.function, time.patience()).await;
        let _share = share.ok_or(InvokeError::Overloaded)?;
        let tried = tokio::time::timeout_at(time.until, self.tried(&invocation)).await;
        tried.unwrap_or(Err(InvokeError::TimedOut))
    }

    fn reserve(&self, function: &str) -> Option<Place> {
        let share = self.queue_shares.try_take(function)?;
        let place = Arc::clone(&self.queue).try_acquire_owned().ok()?;
        Some(Place::holding((place, share)))
    }
}
