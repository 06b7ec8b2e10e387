//! CustomMessage: the words of a message. The function sees the place of the code, and not the code.
//! Source: developer guide, "Custom message Lambda trigger".

use conclave_api::ApiError;
use conclave_crypto::secret::SecretString;
use conclave_outbound::{Channel, Message, Time, Triggers};
use conclave_store::records::UserRecord;
use serde_json::{Map, Value, json};

use super::{
    Event, Trigger, Who, answer, attributes, call_as,
    custom_sender::{self, Parcel},
    metadata,
};
use crate::{tx::Tx, users::delivery};

/// What a text message, and a subject, may have of characters; an e-mail.
const SHORT_CHARS_MAX: usize = 140;
const EMAIL_CHARS_MAX: usize = 20_000;

/// Why there is a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// To confirm a sign-up.
    SignUp,
    /// An administrator has made the user.
    AdminCreateUser,
    /// The code is asked for again.
    ResendCode,
    /// To reset the password.
    ForgotPassword,
    /// An address has changed.
    UpdateUserAttribute,
    /// The user wants to verify an address.
    VerifyUserAttribute,
    /// To sign in.
    Authentication,
}

impl Reason {
    const fn source(self) -> &'static str {
        match self {
            Self::SignUp => "CustomMessage_SignUp",
            Self::AdminCreateUser => "CustomMessage_AdminCreateUser",
            Self::ResendCode => "CustomMessage_ResendCode",
            Self::ForgotPassword => "CustomMessage_ForgotPassword",
            Self::UpdateUserAttribute => "CustomMessage_UpdateUserAttribute",
            Self::VerifyUserAttribute => "CustomMessage_VerifyUserAttribute",
            Self::Authentication => "CustomMessage_Authentication",
        }
    }
}

/// A message in the pool's words, for which a function may find others, or which one may send.
pub struct Draft {
    message: Message,
    by: By,
}

enum By {
    /// It leaves as it is.
    Us,
    /// A function is asked for the words.
    Words(Box<Custom>),
    /// A function sends it. That has words of its own, and no other function is asked.
    Sender(Box<Parcel>),
}

/// How a draft leaves.
pub(crate) enum Way {
    /// As it is.
    Message(Message),
    /// When a function has found the words.
    Later(Box<Later>),
    /// A function sends it.
    Sender(Box<Parcel>),
}

struct Custom {
    event: Event,
    username: String,
    link: Option<SecretString>,
}

/// Elsewhere each message is a draft of [`draft`], or it would pass the pool's functions by.
#[cfg(test)]
impl From<Message> for Draft {
    fn from(message: Message) -> Self {
        Self { message, by: By::Us }
    }
}

/// A message to `user`, with a link in it where one confirms.
///
/// # Errors
/// InternalErrorException when the pool is not loaded.
pub fn draft(
    tx: &Tx<'_>,
    reason: Reason,
    user: &UserRecord,
    message: Message,
    link: Option<&SecretString>,
) -> Result<Draft, ApiError> {
    if let Some(parcel) = custom_sender::parcel(tx, reason, user, &message)? {
        return Ok(Draft { message, by: By::Sender(Box::new(parcel)) });
    }
    let pool = tx.pool()?;
    let mut request = Map::new();
    request.insert("userAttributes".to_owned(), attributes(user));
    request.insert("codeParameter".to_owned(), json!(delivery::CODE_PLACE));
    request.insert("linkParameter".to_owned(), json!("{##Click Here##}"));
    let name = match reason {
        Reason::AdminCreateUser => json!(delivery::USERNAME_PLACE),
        _ => Value::Null,
    };
    request.insert("usernameParameter".to_owned(), name);
    metadata(&mut request, "clientMetadata", tx.circumstances().client_metadata);
    let client = tx.client();
    let client_id = client.as_ref().map(|client| client.record.client_id.as_str());
    let who = Who { username: &user.username, client_id };
    let response = json!({ "smsMessage": null, "emailMessage": null, "emailSubject": null });
    let source = (reason.source(), "1");
    let event = Event::new(&pool, Trigger::CustomMessage, source, who, request, response);
    let by = event.map_or(By::Us, |event| {
        By::Words(Box::new(Custom {
            event,
            username: delivery::called(&pool.record, user).to_owned(),
            link: link.cloned(),
        }))
    });
    Ok(Draft { message, by })
}

/// A message that a sign-in was risky. It has no code, so no function is asked for other words; one that sends all e-mail sends this,
/// and is told `facts`.
///
/// # Errors
/// InternalErrorException when the pool is not loaded.
pub fn notice(
    tx: &Tx<'_>,
    user: &UserRecord,
    message: Message,
    facts: Map<String, Value>,
) -> Result<Draft, ApiError> {
    let parcel = custom_sender::notice(tx, user, facts)?;
    let by = parcel.map_or(By::Us, |parcel| By::Sender(Box::new(parcel)));
    Ok(Draft { message, by })
}

impl Draft {
    /// By what it reaches the user.
    pub fn channel(&self) -> Channel {
        self.message.channel
    }

    /// How it leaves.
    pub(crate) fn into_way(self) -> Way {
        let Self { message, by } = self;
        match by {
            By::Us => Way::Message(message),
            By::Words(custom) => Way::Later(Box::new(Later { message, custom })),
            By::Sender(parcel) => Way::Sender(parcel),
        }
    }
}

/// A message for which a function has still to find the words.
pub(crate) struct Later {
    message: Message,
    custom: Box<Custom>,
}

impl Later {
    /// The function.
    pub fn function(&self) -> &str {
        &self.custom.event.function
    }

    /// Asks it.
    ///
    /// # Errors
    /// Those of [`super::call`]; InvalidLambdaResponseException for words that cannot be sent.
    pub async fn finish_with(
        self,
        functions: &dyn Triggers,
        id: String,
        time: Time,
    ) -> Result<Message, ApiError> {
        let answer = call_as(functions, &self.custom.event, id, time).await?;
        in_words(self.message, &self.custom, &answer)
    }
}

fn in_words(
    message: Message,
    custom: &Custom,
    answer: &Map<String, Value>,
) -> Result<Message, ApiError> {
    let (member, chars_max) = match message.channel {
        Channel::Sms => ("smsMessage", SHORT_CHARS_MAX),
        Channel::Email => ("emailMessage", EMAIL_CHARS_MAX),
    };
    let given = |member: &str, chars_max: usize| {
        let text = answer::text(answer, member)?.filter(|text| !text.is_empty());
        match text {
            Some(text) if text.chars().count() > chars_max => {
                Err(answer::invalid(&format!("{member} is longer than {chars_max} characters")))
            }
            text => Ok(text),
        }
    };
    let text = given(member, chars_max)?;
    let subject = match message.channel {
        Channel::Email => given("emailSubject", SHORT_CHARS_MAX)?,
        Channel::Sms => None,
    };
    if let Some(text) = &text
        && !delivery::has_place(text, custom.link.is_some())
    {
        // a message without its code is of no use to anybody
        return Err(answer::invalid(&format!("{member} has no place for the code")));
    }
    let link = custom.link.as_ref();
    let words = (text.as_deref(), subject.as_deref());
    Ok(delivery::in_other_words(message, words, &custom.username, link))
}
