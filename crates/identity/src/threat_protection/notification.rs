//! Messages to users about risky sign-ins, where the mode is ENFORCED and the action of the level says `Notify`.
//!
//! A message follows the first factor, as everything that is done about a risk: a guess tells nobody anything, and nobody without the
//! password can have mail sent. There is one for a sign-in, and another when it has become riskier on its way; a user gets
//! [`PER_HOUR`] in an hour at most, which is counted in the row that the sign-in writes anyway. It is put into a queue with the
//! commit, also where that refuses, and changes no answer.
//!
//! | what has come of the sign-in | template |
//! | --- | --- |
//! | it was refused | `BlockEmail` |
//! | a second factor is asked for because of the risk | `MfaEmail` |
//! | nothing | `NoActionEmail` |
//!
//! Sources: API reference, `NotifyConfigurationType`, `NotifyEmailType`; developer guide, "Message templates" for the placeholders, and
//! "Working with adaptive authentication". Not documented, and judgement: that only a verified address is written to, because another
//! may be a stranger's; the limit; the texts where there is no template; the form of `{login-time}`.

use conclave_api::ApiError;
use conclave_crypto::encoding;
use conclave_outbound::{Channel, Message, Sender};
use conclave_store::{
    keys,
    records::{
        AuthEventRecord, RiskConfigurationRecord, RiskEmail, RiskNotification, RiskProfileRecord,
        UserRecord,
    },
};
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::FormatItem, macros::format_description};

use super::{
    compromised::GivenPassword,
    enforcement::{self, Enforcement},
    feedback,
    record::SignInStep,
    risk::Level,
};
use crate::{
    auth::{custom_auth, step::Step},
    pools::email,
    triggers::custom_message,
    tx::{Failure, Tx},
    users::{attributes, delivery},
    world::World,
};

/// Messages that a user gets within an hour, at most.
const PER_HOUR: usize = 5;
const HOUR_MS: i64 = 3_600_000;
/// Characters of a device's name in a message. Whoever signs in chooses it.
const DEVICE_CHARS_MAX: usize = 60;
/// Characters of the longest placeholder, `one-click-link-invalid`, and some.
const PLACE_CHARS_MAX: usize = 32;
/// Bytes of a text after which nothing more is filled in: a template may have 20,000 characters, and a thousand links in them.
const FILLED_MAX: usize = 128 << 10;
/// What stands for what is not known: nothing here knows cities and countries, and not every app says which device it is.
const UNKNOWN: &str = "unknown";

/// What has come of a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Blocked,
    SecondFactor,
    NoAction,
}

/// What a step tells; `None` before the first factor has been proved, and where it is not decided yet what is done.
pub(super) fn of_step(
    step: &SignInStep<'_>,
    result: &Result<Step, Failure>,
    enforcement: Enforcement,
) -> Option<Told> {
    if enforcement.is_blocked() {
        return Some(Told::Blocked);
    }
    let asks = enforcement.asks_second_factor().is_some();
    match result {
        Ok(Step::Tokens(_)) if asks && step.challenge == Some("Mfa") => Some(Told::SecondFactor),
        Ok(Step::Tokens(_)) => Some(Told::NoAction),
        Ok(Step::Challenge { name, .. }) => match *name {
            "EMAIL_OTP" if is_first_factor(step) => None,
            "EMAIL_OTP" | "SMS_MFA" | "SOFTWARE_TOKEN_MFA" | "SELECT_MFA_TYPE" | "MFA_SETUP" => {
                Some(if asks { Told::SecondFactor } else { Told::NoAction })
            }
            "NEW_PASSWORD_REQUIRED" | "DEVICE_SRP_AUTH" if !asks => Some(Told::NoAction),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a code by e-mail that is asked for after this step is the first factor.
fn is_first_factor(step: &SignInStep<'_>) -> bool {
    let sets_password = matches!(step.password, Some(GivenPassword::Change(_)));
    step.challenge.is_none() && !sets_password && step.flow != custom_auth::FLOW
}

/// Sends what the configuration wants sent of an event, and notes in it, and in the profile, that this was done.
///
/// # Errors
/// InternalErrorException when the pool's keys cannot be used.
pub(super) fn send(
    tx: &mut Tx<'_>,
    sub: &str,
    told: Told,
    (configuration, event, profile): (
        &RiskConfigurationRecord,
        &mut AuthEventRecord,
        &mut RiskProfileRecord,
    ),
) -> Result<(), ApiError> {
    let Some(level) = Level::named(&event.risk_level) else { return Ok(()) };
    let wants = enforcement::configured(configuration, level).filter(|action| action.notify);
    let notification =
        configuration.account_takeover.as_ref().and_then(|takeover| takeover.notification.as_ref());
    let Some((action, notification)) = wants.zip(notification) else { return Ok(()) };
    if Level::named(&event.notified_level) >= Some(level) {
        return Ok(());
    }
    let Some(user) = tx.get::<UserRecord>(&keys::user(sub))?.map(|stored| stored.record) else {
        return Ok(());
    };
    let address = attributes::value(&user, "email").map(str::to_owned);
    let Some(to) = address.filter(|_| attributes::is_verified(&user, "email")) else {
        return Ok(());
    };
    let now_ms = tx.now_ms();
    profile.notified_ms.retain(|sent_ms| now_ms - sent_ms < HOUR_MS);
    if profile.notified_ms.len() >= PER_HOUR {
        tracing::warn!("no more messages about risky sign-ins to a user within the hour");
        return Ok(());
    }
    profile.notified_ms.push(now_ms);
    level.as_str().clone_into(&mut event.notified_level);
    let pool = tx.pool()?;
    let facts = Facts::new(tx, &user, event)?;
    let username = delivery::called(&pool.record, &user);
    let template = match told {
        Told::Blocked => &notification.block,
        Told::SecondFactor => &notification.mfa,
        Told::NoAction => &notification.no_action,
    };
    let message = Message {
        to,
        channel: Channel::Email,
        sender: sender(notification, delivery::sender(&pool.record)),
        ..written(told, template.as_ref(), username, &facts)
    };
    // what was done, where the configuration did not decide it
    let done = if told == Told::Blocked { "BLOCK" } else { action.event_action.as_str() };
    let details = facts.details(&user, done);
    let draft = custom_message::notice(tx, &user, message, details)?;
    tx.notify(draft);
    Ok(())
}

/// Whom it is from: `From`, or the address that `SourceArn` names, or else whom the pool's other messages are from.
fn sender(notification: &RiskNotification, of_pool: Sender) -> Sender {
    let named = email::identity(&notification.source_arn);
    let named = named.filter(|identity| identity.contains('@')).map(str::to_owned);
    match notification.from.clone().or(named) {
        Some(from) => Sender { from: Some(from), reply_to: notification.reply_to.clone() },
        None => {
            let reply_to = notification.reply_to.clone().or(of_pool.reply_to);
            Sender { reply_to, ..of_pool }
        }
    }
}

/// What placeholders stand for.
struct Facts {
    event_id: String,
    token: String,
    ip_address: String,
    login_time: String,
    device_name: Option<String>,
    link_valid: String,
    link_invalid: String,
}

impl Facts {
    fn new(tx: &Tx<'_>, user: &UserRecord, event: &AuthEventRecord) -> Result<Self, ApiError> {
        let pool = tx.pool()?;
        let token = feedback::token(tx, &user.sub, &event.event_id)?;
        let link = |value: &str| link(tx.world(), pool.id(), user, (event, &token), value);
        Ok(Self {
            ip_address: event.ip_address.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            login_time: at(event.created_ms),
            device_name: event.device_name.as_deref().map(harmless),
            link_valid: link("Valid"),
            link_invalid: link("Invalid"),
            event_id: event.event_id.clone(),
            token,
        })
    }

    fn of(&self, place: &str) -> Option<&str> {
        Some(match place {
            "ip-address" => &self.ip_address,
            "city" | "country" => UNKNOWN,
            "login-time" => &self.login_time,
            "device-name" => self.device_name.as_deref().unwrap_or(UNKNOWN),
            "one-click-link-valid" => &self.link_valid,
            "one-click-link-invalid" => &self.link_invalid,
            "event-id" => &self.event_id,
            "feedback-token" => &self.token,
            _ => return None,
        })
    }

    /// What a function that sends the message is told.
    fn details(&self, user: &UserRecord, action: &str) -> Map<String, Value> {
        let mut details: Map<String, Value> = [
            ("EVENT_ID", self.event_id.as_str()),
            ("USER_NAME", &user.username),
            ("IP_ADDRESS", &self.ip_address),
            ("ACCOUNT_TAKE_OVER_ACTION", action),
            ("ONE_CLICK_LINK_VALID", &self.link_valid),
            ("ONE_CLICK_LINK_INVALID", &self.link_invalid),
            ("LOGIN_TIME", &self.login_time),
            ("FEEDBACK_TOKEN", &self.token),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
        if let Some(name) = &self.device_name {
            details.insert("DEVICE_NAME".to_owned(), Value::from(name.as_str()));
        }
        details
    }
}

/// Where a user says what an event was, at the gateways' own URL.
fn link(
    world: &World,
    pool_id: &str,
    user: &UserRecord,
    (event, token): (&AuthEventRecord, &str),
    value: &str,
) -> String {
    format!(
        "{}/authEventFeedback?user_pool_id={}&user_name={}&event_id={}&feedback_token={token}&feedback_value={value}",
        world.settings.public_url,
        encoding::percent(pool_id),
        encoding::percent(&user.username),
        encoding::percent(&event.event_id),
    )
}

/// `2026-01-01 12:00:00 UTC`
fn at(ms: i64) -> String {
    const FORMAT: &[FormatItem<'_>] =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let at = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1_000));
    at.ok().and_then(|at| at.format(FORMAT).ok()).unwrap_or_else(|| UNKNOWN.to_owned())
}

/// The name of a device, in which mail programs see no address and no telephone number: whoever signs in chooses it, and the message is to be trusted.
fn harmless(name: &str) -> String {
    let mut shown = String::new();
    let mut chars = name.chars().take(DEVICE_CHARS_MAX).peekable();
    while let Some(char) = chars.next() {
        let is_number = char == '.' && chars.peek().is_some_and(char::is_ascii_digit);
        let is_plain = char.is_alphanumeric() || "()/,;_ ".contains(char);
        shown.push(if is_number || is_plain { char } else { ' ' });
    }
    shown
}

/// The message, without those that it goes between.
fn written(told: Told, template: Option<&RiskEmail>, username: &str, facts: &Facts) -> Message {
    let default = default_email(told);
    let template = template.unwrap_or(&default);
    let text = match (&template.html_body, &template.text_body) {
        (None, None) => default.text_body.as_deref(),
        (_, text) => text.as_deref(),
    };
    let plain = text.map(|text| fill(text, username, facts, str::to_owned));
    let html = template.html_body.as_deref();
    let html = html.map(|text| fill(text, username, facts, delivery::escape));
    let is_html = html.is_some();
    let (body, plain) = match html {
        Some(html) => (html, plain),
        None => (plain.unwrap_or_default(), None),
    };
    Message {
        to: String::new(),
        channel: Channel::Email,
        subject: Some(fill(&template.subject, username, facts, str::to_owned)),
        body,
        is_html,
        plain,
        code: None,
        sender: Sender::default(),
    }
}

/// Where there is no template.
fn default_email(told: Told) -> RiskEmail {
    let (subject, what) = match told {
        Told::Blocked => ("Blocked sign-in attempt", "A sign-in to your account was blocked."),
        Told::SecondFactor => (
            "New sign-in attempt",
            "Somebody has signed in to your account with the right password from a new place, and is asked for a second factor.",
        ),
        Told::NoAction => ("New sign-in attempt", "There was a new sign-in to your account."),
    };
    let text = format!(
        "{what}\n\nUser name: {{username}}\nTime: {{login-time}}\nDevice: {{device-name}}\nIP address: {{ip-address}}\n\n\
         If this was not you, change your password, and tell us: {{one-click-link-invalid}}\n\n\
         If this was you, please tell us that too: {{one-click-link-valid}}\n"
    );
    RiskEmail { subject: subject.to_owned(), html_body: None, text_body: Some(text) }
}

/// Fills a template in, up to [`FILLED_MAX`] bytes. What is filled in is not looked at again.
fn fill(template: &str, username: &str, facts: &Facts, as_text: impl Fn(&str) -> String) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, from)) = rest.split_once('{') {
        filled.push_str(before);
        if filled.len() > FILLED_MAX {
            tracing::warn!("a template is too long when it is filled in: its end is left out");
            return filled;
        }
        let near = from.char_indices().take(PLACE_CHARS_MAX + 1).find(|(_, char)| *char == '}');
        let known = near.and_then(|(end, _)| {
            let (place, after) = (&from[..end], &from[end + 1..]);
            let value = if place == "username" { Some(username) } else { facts.of(place) };
            value.map(|value| (value, after))
        });
        match known {
            Some((value, after)) => {
                filled.push_str(&as_text(value));
                rest = after;
            }
            None => {
                filled.push('{');
                rest = from;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            event_id: "event".to_owned(),
            token: "token".to_owned(),
            ip_address: "192.0.2.1".to_owned(),
            login_time: at(1_767_225_600_000),
            device_name: Some("{feedback-token}<b>".to_owned()),
            link_valid: "https://id/?a=1&b=Valid".to_owned(),
            link_invalid: "https://id/?a=1&b=Invalid".to_owned(),
        }
    }

    /// The placeholders of the developer guide, "Message templates".
    #[test]
    fn every_placeholder_is_filled_in_once_and_escaped_in_html() {
        let template = RiskEmail {
            subject: "{username} {login-time}".to_owned(),
            html_body: Some("<a href={one-click-link-valid}>{device-name}</a>{x}{".to_owned()),
            text_body: Some(
                "{ip-address} {city} {country} {device-name} {one-click-link-invalid} {event-id} {feedback-token} {####}"
                    .to_owned(),
            ),
        };
        let message = written(Told::Blocked, Some(&template), "<ada>", &facts());
        assert_eq!(message.subject.as_deref(), Some("<ada> 2026-01-01 00:00:00 UTC"));
        assert_eq!(
            message.body,
            "<a href=https://id/?a=1&amp;b=Valid>{feedback-token}&lt;b&gt;</a>{x}{"
        );
        assert_eq!(
            message.plain.as_deref(),
            Some(
                "192.0.2.1 unknown unknown {feedback-token}<b> https://id/?a=1&b=Invalid event token {####}"
            )
        );
        assert!(message.is_html);
    }

    #[test]
    fn a_template_without_a_body_has_that_of_none() {
        let template = RiskEmail { subject: "Mine".to_owned(), ..RiskEmail::default() };
        let message = written(Told::NoAction, Some(&template), "ada", &facts());
        assert_eq!(message.subject.as_deref(), Some("Mine"));
        assert!(
            message.body.contains("User name: ada\n")
                && !message.body.contains('{'.to_string().repeat(2).as_str())
        );
        assert!(!message.is_html && message.plain.is_none());
        let subjects = [Told::Blocked, Told::SecondFactor, Told::NoAction]
            .map(|told| written(told, None, "ada", &facts()).subject.unwrap_or_default());
        assert_eq!(
            subjects,
            ["Blocked sign-in attempt", "New sign-in attempt", "New sign-in attempt"]
        );
    }

    #[test]
    fn a_device_s_name_is_no_address() {
        assert_eq!(harmless("Mozilla/5.0 (X11; Linux)"), "Mozilla/5.0 (X11; Linux)");
        assert_eq!(
            harmless("see https://evil.example/x or a@evil.example"),
            "see https //evil example/x or a evil example"
        );
        assert_eq!(harmless(&"x".repeat(400)).len(), DEVICE_CHARS_MAX);
        assert_eq!(harmless("+1-900-555"), " 1 900 555");
    }

    #[test]
    fn what_a_template_of_links_becomes_has_a_limit() {
        let links = "{one-click-link-invalid}".repeat(20_000);
        let filled = fill(&links, "ada", &facts(), str::to_owned);
        assert!(filled.len() > FILLED_MAX && filled.len() < FILLED_MAX + 100, "{}", filled.len());
        let braces = "{".repeat(20_000);
        assert_eq!(fill(&braces, "ada", &facts(), str::to_owned), braces);
    }
}
