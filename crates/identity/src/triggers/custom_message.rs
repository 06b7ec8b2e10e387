//! CustomMessage: the words of a message. The function sees the place of the code, and not the code.
//! Source: developer guide, "Custom message Lambda trigger".

use conclave_api::ApiError;
use conclave_crypto::{ids, secret::SecretString};
use conclave_outbound::{Channel, Message, Triggers};
use conclave_store::records::UserRecord;
use serde_json::{Map, Value, json};

use super::{Event, Trigger, Who, answer, attributes, call_as, metadata};
use crate::{tx::Tx, users::delivery, world::World};

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

/// A message in the pool's words, for which a function may find others.
pub struct Draft {
    message: Message,
    custom: Option<Custom>,
}

struct Custom {
    event: Event,
    username: String,
    link: Option<SecretString>,
}

impl From<Message> for Draft {
    fn from(message: Message) -> Self {
        Self { message, custom: None }
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
    let custom = event.map(|event| Custom {
        event,
        username: delivery::called(&pool.record, user).to_owned(),
        link: link.cloned(),
    });
    Ok(Draft { message, custom })
}

impl Draft {
    /// How it leaves.
    pub fn channel(&self) -> Channel {
        self.message.channel
    }

    /// The message, where no function is asked.
    ///
    /// # Errors
    /// What is asked, where one is.
    pub(crate) fn into_message(self) -> Result<Message, Box<Later>> {
        let Self { message, custom } = self;
        match custom {
            None => Ok(message),
            Some(custom) => Err(Box::new(Later { message, custom })),
        }
    }

    /// The message, in the words of the function where there is one.
    ///
    /// # Errors
    /// Those of [`super::call`]; InvalidLambdaResponseException for words that cannot be sent.
    pub async fn finish(self, world: &World) -> Result<Message, ApiError> {
        match self.into_message() {
            Ok(message) => Ok(message),
            Err(later) => later.finish_with(&*world.triggers, ids::uuid(&*world.entropy)).await,
        }
    }
}

/// A message for which a function has still to find the words.
pub(crate) struct Later {
    message: Message,
    custom: Custom,
}

impl Later {
    /// Asks it.
    ///
    /// # Errors
    /// As [`Draft::finish`].
    pub async fn finish_with(
        self,
        functions: &dyn Triggers,
        id: String,
    ) -> Result<Message, ApiError> {
        let answer = call_as(functions, &self.custom.event, id).await?;
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
