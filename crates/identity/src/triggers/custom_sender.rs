//! CustomEmailSender and CustomSMSSender: functions that send messages in the place of the operator's ways. They
//! get no words, but the code, encrypted under the pool's key as a message of the AWS Encryption SDK.
//!
//! Such a function is not waited for: AWS Lambda takes the call over, and tries by itself until the function has
//! worked. So what it throws is told to nobody, as in Cognito. A webhook has nobody who would try again: where its status
//! says that it has not taken the message over, that is one that could not be delivered.
//!
//! Sources: developer guide, "Custom sender Lambda triggers", and "Customizing user pool workflows with Lambda
//! triggers" for the call; a real event, in a published sample of AWS, for the pair `userpool-id`, for
//! `clientMetadata` that is null, and for the absence of `response`. What is answered where a function or the key
//! cannot be reached is not documented: judgement.

use std::{collections::BTreeMap, sync::Arc};

use conclave_api::ApiError;
use conclave_crypto::{
    encoding,
    encryption_sdk::{self, Context},
    entropy::Entropy,
    secret::SecretString,
};
use conclave_outbound::{
    Channel, DataKeyError, DataKeys, Invocation, InvokeError, KeyRequest, Message, SendError, Time,
    Triggers, Wait,
};
use conclave_store::records::{PoolRecord, UserRecord};
use serde_json::{Map, Value, json};
use tracing::Instrument as _;

use super::{Event, Trigger, Who, attributes, custom_message::Reason, refusal};
use crate::{config::PoolConfig, errors, tx::Tx, users::delivery, world::World};

/// The pair by which a code belongs to its pool.
const POOL_PAIR: &str = "userpool-id";

/// The trigger that sends messages of a channel, where the pool has a function for it.
pub fn of(pool: &PoolRecord, channel: Channel) -> Option<Trigger> {
    let trigger = match channel {
        Channel::Email => Trigger::CustomEmailSender,
        Channel::Sms => Trigger::CustomSmsSender,
    };
    trigger.function(pool).map(|_| trigger)
}

const fn source(channel: Channel, reason: Reason) -> &'static str {
    match (channel, reason) {
        (Channel::Email, Reason::SignUp) => "CustomEmailSender_SignUp",
        (Channel::Email, Reason::AdminCreateUser) => "CustomEmailSender_AdminCreateUser",
        (Channel::Email, Reason::ResendCode) => "CustomEmailSender_ResendCode",
        (Channel::Email, Reason::ForgotPassword) => "CustomEmailSender_ForgotPassword",
        (Channel::Email, Reason::UpdateUserAttribute) => "CustomEmailSender_UpdateUserAttribute",
        (Channel::Email, Reason::VerifyUserAttribute) => "CustomEmailSender_VerifyUserAttribute",
        (Channel::Email, Reason::Authentication) => "CustomEmailSender_Authentication",
        (Channel::Sms, Reason::SignUp) => "CustomSMSSender_SignUp",
        (Channel::Sms, Reason::AdminCreateUser) => "CustomSMSSender_AdminCreateUser",
        (Channel::Sms, Reason::ResendCode) => "CustomSMSSender_ResendCode",
        (Channel::Sms, Reason::ForgotPassword) => "CustomSMSSender_ForgotPassword",
        (Channel::Sms, Reason::UpdateUserAttribute) => "CustomSMSSender_UpdateUserAttribute",
        (Channel::Sms, Reason::VerifyUserAttribute) => "CustomSMSSender_VerifyUserAttribute",
        (Channel::Sms, Reason::Authentication) => "CustomSMSSender_Authentication",
    }
}

/// What a function is given to send. No `Debug`: it holds a code.
pub(crate) struct Parcel {
    pool: Arc<PoolConfig>,
    trigger: Trigger,
    source: &'static str,
    username: String,
    client_id: Option<String>,
    user_attributes: Value,
    client_metadata: Option<BTreeMap<String, String>>,
    /// Messages that only tell something have none.
    code: Option<SecretString>,
}

/// Why a message has not been handed over.
pub(crate) enum NotHandedOver {
    /// It could not be encrypted, or the function has failed.
    Message(SendError),
    /// The function, or what makes keys for it, could not be called.
    Function(ApiError),
}

/// What it takes to hand one over.
pub(crate) struct Means {
    pub functions: Arc<dyn Triggers>,
    pub data_keys: Arc<dyn DataKeys>,
    pub entropy: Arc<dyn Entropy>,
}

impl Means {
    pub fn of(world: &World) -> Self {
        Self {
            functions: Arc::clone(&world.triggers),
            data_keys: Arc::clone(&world.data_keys),
            entropy: Arc::clone(&world.entropy),
        }
    }
}

/// The parcel in the place of `message`; `None` where the pool has no function for its channel.
///
/// # Errors
/// InternalErrorException when the pool is not loaded, or the message has no code.
pub(super) fn parcel(
    tx: &Tx<'_>,
    reason: Reason,
    user: &UserRecord,
    message: &Message,
) -> Result<Option<Parcel>, ApiError> {
    let pool = tx.pool()?;
    let Some(trigger) = of(&pool.record, message.channel) else { return Ok(None) };
    let code = message.code.clone().ok_or_else(|| errors::internal("a message has no code"))?;
    let mut user_attributes = attributes(user);
    // an address that is still to be verified is not an attribute yet, and it is where the message goes
    let name = delivery::attribute_of(message.channel);
    if let Value::Object(shown) = &mut user_attributes
        && shown.get(name).and_then(Value::as_str) != Some(message.to.as_str())
    {
        shown.insert(name.to_owned(), json!(message.to));
        shown.insert(format!("{name}_verified"), json!("false"));
    }
    let client = tx.client();
    let metadata = tx.circumstances().client_metadata.filter(|given| !given.is_empty());
    Ok(Some(Parcel {
        pool,
        trigger,
        source: source(message.channel, reason),
        username: user.username.clone(),
        client_id: client.map(|client| client.record.client_id.clone()),
        user_attributes,
        client_metadata: metadata.cloned(),
        code: Some(SecretString::new(code)),
    }))
}

/// The parcel in the place of a message that says that a sign-in was risky; `None` where the pool has no function for e-mail.
/// `facts` stand among the user's attributes.
///
/// Source: the definitions of the event's type in DefinitelyTyped (`CustomEmailSender_AccountTakeOverNotification_UserAttributes`); AWS
/// says no more than that there is the source. That the user's own attributes come with them is ours: the function needs an address.
///
/// # Errors
/// InternalErrorException when the pool is not loaded.
pub(super) fn notice(
    tx: &Tx<'_>,
    user: &UserRecord,
    facts: Map<String, Value>,
) -> Result<Option<Parcel>, ApiError> {
    let pool = tx.pool()?;
    let Some(trigger) = of(&pool.record, Channel::Email) else { return Ok(None) };
    let mut user_attributes = attributes(user);
    if let Value::Object(shown) = &mut user_attributes {
        shown.extend(facts);
    }
    Ok(Some(Parcel {
        pool,
        trigger,
        source: "CustomEmailSender_AccountTakeOverNotification",
        username: user.username.clone(),
        client_id: tx.client().map(|client| client.record.client_id.clone()),
        user_attributes,
        client_metadata: None,
        code: None,
    }))
}

impl Parcel {
    /// The function; empty where there is none.
    pub fn function(&self) -> &str {
        self.trigger.function(&self.pool.record).unwrap_or_default()
    }

    /// Encrypts the code, and calls the function.
    pub async fn hand_over(
        &self,
        means: &Means,
        id: String,
        time: Time,
    ) -> Result<(), NotHandedOver> {
        let code = self.encrypted(means, time).await?;
        let event = self.event(code.as_deref()).ok_or_else(|| {
            NotHandedOver::Function(errors::internal("a message has no function to send it"))
        })?;
        let span = tracing::info_span!("trigger", trigger = self.trigger.as_str());
        let function = event.function.clone();
        let invocation = Invocation {
            function: function.clone(),
            event: event.payload,
            id,
            source: event.source,
            wait: Wait::TakenOver,
            time,
        };
        match means.functions.invoke(invocation).instrument(span).await {
            Ok(_) => Ok(()),
            // what it says is for whoever runs it, and not for the user
            Err(InvokeError::Failed(_)) => {
                let trigger = self.trigger.as_str();
                tracing::warn!(trigger, function, "custom sender failed");
                Err(NotHandedOver::Message(SendError::Refused("the function failed".to_owned())))
            }
            Err(error) => Err(NotHandedOver::Function(refusal(self.trigger, &function, &error))),
        }
    }

    async fn encrypted(&self, means: &Means, time: Time) -> Result<Option<String>, NotHandedOver> {
        let Some(code) = &self.code else { return Ok(None) };
        let refused = |text: String| NotHandedOver::Message(SendError::Refused(text));
        let triggers = self.pool.record.triggers.as_ref();
        let key = triggers.and_then(|triggers| triggers.kms_key_id.as_deref());
        let key = key.ok_or_else(|| refused("the pool has no key".to_owned()))?;
        let context: Context = [(POOL_PAIR.to_owned(), self.pool.id().to_owned())].into();
        let span = tracing::info_span!("data_key");
        let request = KeyRequest { key, context: &context, pool: self.pool.id(), time };
        let made = means.data_keys.generate(request).instrument(span).await;
        let made = made.map_err(|error| {
            tracing::warn!(%error, key, "no data key for a custom sender");
            match error {
                // as for a function of which too many calls are under way
                DataKeyError::Overloaded => NotHandedOver::Function(errors::too_many_requests()),
                DataKeyError::TimedOut | DataKeyError::Unreachable(_) => {
                    NotHandedOver::Message(SendError::Unavailable(error.to_string()))
                }
                DataKeyError::NotConfigured
                | DataKeyError::NotAllowed
                | DataKeyError::Refused(_)
                | DataKeyError::NoKey => refused(error.to_string()),
            }
        })?;
        let text = code.expose().as_bytes();
        let (plain, wrapped) = (&made.plaintext, &made.encrypted);
        let message = encryption_sdk::encrypt(text, &context, plain, wrapped, &*means.entropy);
        let message = message.map_err(|error| refused(error.to_string()))?;
        Ok(Some(encoding::base64(message)))
    }

    fn event(&self, code: Option<&str>) -> Option<Event> {
        let kind = match self.trigger {
            Trigger::CustomSmsSender => "customSMSSenderRequestV1",
            _ => "customEmailSenderRequestV1",
        };
        let mut request = Map::new();
        request.insert("type".to_owned(), json!(kind));
        request.insert("code".to_owned(), json!(code));
        request.insert("clientMetadata".to_owned(), json!(self.client_metadata));
        request.insert("userAttributes".to_owned(), self.user_attributes.clone());
        let who = Who { username: &self.username, client_id: self.client_id.as_deref() };
        Event::new(&self.pool, self.trigger, (self.source, "1"), who, request, None)
    }
}
