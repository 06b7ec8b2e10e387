//! How codes and temporary passwords reach a user: to which address, and in which words.
//! Sources: developer guide, "Configuring verification and invitation messages", and "Verifying contact
//! information at sign-up"; the texts are Cognito's defaults.

use conclave_api::{ApiError, types::CodeDeliveryDetailsType};
use conclave_crypto::{encoding, secret::SecretString};
use conclave_outbound::{Channel, Message, Sender};
use conclave_store::records::{PoolRecord, UserRecord};

use super::{attributes, contact};
use crate::{
    auth::factors,
    config::{ClientConfig, PoolConfig},
    pools::email,
    triggers::custom_message::Draft,
    tx::Tx,
    world::World,
};

/// Where a code goes in a text.
pub(crate) const CODE_PLACE: &str = "{####}";
/// Where the name goes by which a user is called.
pub(crate) const USERNAME_PLACE: &str = "{username}";
/// Around the text of a link: `{##Verify Email##}`.
const LINK_START: &str = "{##";
const LINK_END: &str = "##}";
const CONFIRM_WITH_LINK: &str = "CONFIRM_WITH_LINK";

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The attribute that holds the address.
    pub attribute: &'static str,
    /// E-mail or SMS.
    pub channel: Channel,
    /// The address.
    pub address: String,
}

impl Destination {
    /// What the caller is told of it.
    pub fn details(&self) -> CodeDeliveryDetailsType {
        let masked = match self.channel {
            Channel::Email => contact::mask_email(&self.address),
            Channel::Sms => contact::mask_phone_number(&self.address),
        };
        details(self.attribute, self.channel, masked)
    }
}

/// Where the code that confirms a sign-up goes: to what the pool verifies by itself, by SMS before
/// e-mail; `None` when it verifies nothing that the user has.
pub fn of_sign_up(config: &PoolConfig, user: &UserRecord) -> Option<Destination> {
    let verified = |name: &str| config.record.auto_verified_attributes.iter().any(|v| v == name);
    [Channel::Sms, Channel::Email]
        .into_iter()
        .filter(|channel| verified(attribute_of(*channel)))
        .find_map(|channel| to(user, channel))
}

/// Whether the pool sends a code to a new address of this channel by itself.
pub fn is_auto_verified(config: &PoolConfig, channel: Channel) -> bool {
    config.record.auto_verified_attributes.iter().any(|name| name == attribute_of(channel))
}

/// Where a message of `channel` goes; `None` when the user has no such address.
pub fn to(user: &UserRecord, channel: Channel) -> Option<Destination> {
    let attribute = attribute_of(channel);
    let address = attributes::value(user, attribute)?.to_owned();
    Some(Destination { attribute, channel, address })
}

/// The attribute that holds the address of a channel.
pub fn attribute_of(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "email",
        Channel::Sms => "phone_number",
    }
}

/// Where the code that resets a password goes: to the first verified address that the pool lets recover
/// an account. Source: API reference, AccountRecoverySettingType.
pub fn of_recovery(config: &PoolConfig, user: &UserRecord) -> Option<Destination> {
    recovery_channels(config)
        .into_iter()
        .filter(|channel| attributes::is_verified(user, attribute_of(*channel)))
        .filter(|channel| !factors::is_second_factor(&config.record, user, *channel))
        .find_map(|channel| to(user, channel))
}

/// The channels by which an account of this pool can be recovered, the first choice first; none where
/// that is left to administrators.
pub fn recovery_channels(config: &PoolConfig) -> Vec<Channel> {
    let mut mechanisms: Vec<_> = config.record.recovery_mechanisms.iter().collect();
    mechanisms.sort_by_key(|mechanism| mechanism.priority);
    let channel = |name: &str| match name {
        "verified_email" => Some(Channel::Email),
        "verified_phone_number" => Some(Channel::Sms),
        _ => None,
    };
    mechanisms.into_iter().filter_map(|mechanism| channel(&mechanism.name)).collect()
}

/// What is told of a user who does not exist, where a code confirms a sign-up: the same for a name at all
/// times, and like what a user of this pool would be told. The pool verifies something.
pub fn simulated(config: &PoolConfig, name: &str) -> CodeDeliveryDetailsType {
    let verifies_email = config.record.auto_verified_attributes.iter().any(|v| v == "email");
    let by_name = if contact::is_phone_number(name) { Some(Channel::Sms) } else { None };
    let default = if verifies_email { Channel::Email } else { Channel::Sms };
    let channel = if contact::is_email(name) { default } else { by_name.unwrap_or(default) };
    simulated_by(config, name, channel)
}

/// As [`simulated`], where a code resets the password: by what the name looks like, else by what the pool
/// verifies by itself, else by its first choice. The pool lets accounts be recovered.
pub fn simulated_recovery(config: &PoolConfig, name: &str) -> CodeDeliveryDetailsType {
    let channels = recovery_channels(config);
    let verified = |channel: &Channel| {
        let attribute = attribute_of(*channel);
        config.record.auto_verified_attributes.iter().any(|v| v == attribute)
    };
    let looks_like = |channel: &Channel| match channel {
        Channel::Email => contact::is_email(name),
        Channel::Sms => contact::is_phone_number(name),
    };
    let find = |wanted: &dyn Fn(&Channel) -> bool| channels.iter().copied().find(wanted);
    let channel = find(&looks_like).or_else(|| find(&verified)).or(channels.first().copied());
    simulated_by(config, name, channel.unwrap_or(Channel::Email))
}

/// As [`simulated`], by a channel that is given.
pub fn simulated_by(config: &PoolConfig, name: &str, channel: Channel) -> CodeDeliveryDetailsType {
    if channel == Channel::Email && contact::is_email(name) {
        return details("email", Channel::Email, contact::mask_email(name));
    }
    if channel == Channel::Sms && contact::is_phone_number(name) {
        return details("phone_number", Channel::Sms, contact::mask_phone_number(name));
    }
    let [local, domain, a, b, c, d, ..]: [u8; 8] = config.fake_users.bytes("destination", name);
    if channel == Channel::Email {
        const LOCAL: &[u8] = b"aaabbcccdddeeffgghhijjjjkklllmmmmnnoopprrrsssttuvwxyz";
        const DOMAIN: &[u8] = b"ggggggggggggoooyyyhhiaecmpt";
        let pick = |letters: &[u8], number: u8| {
            letters
                .get(usize::from(number) % letters.len())
                .map_or('a', |&letter| char::from(letter))
        };
        let masked = format!("{}***@{}***", pick(LOCAL, local), pick(DOMAIN, domain));
        return details("email", Channel::Email, masked);
    }
    let digits: String = [a, b, c, d].iter().map(|digit| char::from(b'0' + digit % 10)).collect();
    details("phone_number", Channel::Sms, format!("+*******{digits}"))
}

fn details(attribute: &str, channel: Channel, masked: String) -> CodeDeliveryDetailsType {
    CodeDeliveryDetailsType {
        attribute_name: Some(attribute.to_owned()),
        delivery_medium: Some(channel.as_str().to_owned()),
        destination: Some(masked),
    }
}

/// Hands a message to a user over: where the client hides users, without waiting for it.
pub fn hand_over(tx: &mut Tx<'_>, client: &ClientConfig, draft: Draft) {
    if client.hides_users() { tx.post(draft) } else { tx.send(draft) }
}

/// Whether e-mail that confirms a sign-up carries a link in the place of a code. Other codes are never links.
/// Source: developer guide, "Customizing email verification messages".
fn sends_links(config: &PoolConfig) -> bool {
    let template = config.record.verification_template.as_ref();
    template.and_then(|template| template.default_email_option.as_deref())
        == Some(CONFIRM_WITH_LINK)
}

/// Checks that a pool that sends links has somewhere for them to lead.
///
/// # Errors
/// As [`check_domain`].
pub fn check_links(config: &PoolConfig) -> Result<(), ApiError> {
    if sends_links(config) { check_domain(config) } else { Ok(()) }
}

/// Links lead to the pool's domain. The text is the service's, from reports of its answer.
///
/// # Errors
/// InvalidParameterException when there is none.
pub fn check_domain(config: &PoolConfig) -> Result<(), ApiError> {
    if config.record.domains.is_empty() {
        return Err(ApiError::invalid_parameter(
            "Cannot perform specific action because there does not exist a valid use pool domain \
             associated with the user pool",
        ));
    }
    Ok(())
}

/// The link that confirms a sign-up, at the gateways' own URL: they know the pool by its client.
pub fn confirmation_link(
    world: &World,
    client: &ClientConfig,
    user: &UserRecord,
    code: &SecretString,
) -> SecretString {
    SecretString::new(format!(
        "{}/confirmUser?client_id={}&user_name={}&confirmation_code={}",
        world.settings.public_url,
        encoding::percent(&client.record.client_id),
        encoding::percent(&user.username),
        encoding::percent(code.expose()),
    ))
}

/// The link, where the pool wants one in such a message.
pub fn link_of(message: &Message, config: &PoolConfig, link: SecretString) -> Option<SecretString> {
    (message.channel == Channel::Email && sends_links(config)).then_some(link)
}

/// The message that confirms a sign-up: with a link, where the pool wants it so and it is an e-mail, or with
/// a code.
pub fn confirmation(
    config: &PoolConfig,
    user: &UserRecord,
    destination: &Destination,
    code: &SecretString,
    link: &SecretString,
) -> Message {
    const TEXT: &str =
        "Please click the link below to verify your email address. {##Verify Email##}";
    const SUBJECT: &str = "Your verification link";
    if destination.channel != Channel::Email || !sends_links(config) {
        return verification(config, user, destination, code);
    }
    let template = config.record.verification_template.as_ref();
    let text = template.and_then(|template| template.email_message_by_link.as_deref());
    let subject = template.and_then(|template| template.email_subject_by_link.as_deref());
    let (text, subject) = (text.unwrap_or(TEXT), subject.unwrap_or(SUBJECT));
    let username = called(&config.record, user);
    Message {
        to: destination.address.clone(),
        channel: destination.channel,
        subject: Some(fill(subject, username, code.expose(), None)),
        body: fill(text, &escape(username), code.expose(), Some(&escape(link.expose()))),
        is_html: true,
        plain: None,
        code: Some(code.expose().clone()),
        sender: sender(&config.record),
    }
}

/// The message with the code that verifies an address.
pub fn verification(
    config: &PoolConfig,
    user: &UserRecord,
    destination: &Destination,
    code: &SecretString,
) -> Message {
    const EMAIL: &str = "Your confirmation code is {####}";
    const SMS: &str = "Your verification code is {####}";
    with_code(config, user, destination, code, (EMAIL, SMS))
}

/// The message with the code that resets a password: in the same words where the pool has its own.
pub fn password_reset(
    config: &PoolConfig,
    user: &UserRecord,
    destination: &Destination,
    code: &SecretString,
) -> Message {
    const EMAIL: &str = "Your password reset code is {####}";
    const SMS: &str = "Your password reset code is {####}";
    with_code(config, user, destination, code, (EMAIL, SMS))
}

/// The message with a code that is asked for at sign-in.
pub fn sign_in_code(
    config: &PoolConfig,
    user: &UserRecord,
    destination: &Destination,
    code: &SecretString,
) -> Message {
    const EMAIL: &str = "Your authentication code is {####}";
    const SUBJECT: &str = "Your authentication code";
    const SMS: &str = "Your authentication code is {####}.";
    let record = &config.record;
    let email = record.mfa.as_ref().and_then(|mfa| mfa.email.as_ref());
    let (text, subject) = match destination.channel {
        Channel::Email => (
            email.and_then(|email| email.message.as_deref()).unwrap_or(EMAIL),
            Some(email.and_then(|email| email.subject.as_deref()).unwrap_or(SUBJECT)),
        ),
        Channel::Sms => (record.sms_authentication_message.as_deref().unwrap_or(SMS), None),
    };
    message(record, user, destination, text, subject, code)
}

fn with_code(
    config: &PoolConfig,
    user: &UserRecord,
    destination: &Destination,
    code: &SecretString,
    (email, sms): (&str, &str),
) -> Message {
    const SUBJECT: &str = "Your verification code";
    let record = &config.record;
    let template = record.verification_template.as_ref();
    let (text, subject) = match destination.channel {
        Channel::Email => (
            template
                .and_then(|template| template.email_message.as_deref())
                .or(record.email_verification_message.as_deref())
                .unwrap_or(email),
            Some(
                template
                    .and_then(|template| template.email_subject.as_deref())
                    .or(record.email_verification_subject.as_deref())
                    .unwrap_or(SUBJECT),
            ),
        ),
        Channel::Sms => (
            template
                .and_then(|template| template.sms_message.as_deref())
                .or(record.sms_verification_message.as_deref())
                .unwrap_or(sms),
            None,
        ),
    };
    message(record, user, destination, text, subject, code)
}

/// The message with the temporary password of a user that an administrator has made.
pub fn invitation(
    config: &PoolConfig,
    user: &UserRecord,
    destination: &Destination,
    temporary_password: &SecretString,
) -> Message {
    const EMAIL: &str = "Your username is {username} and temporary password is {####}.";
    const SUBJECT: &str = "Your temporary password";
    const SMS: &str = "Your username is {username} and temporary password is {####}";
    let record = &config.record;
    let template = record.admin_create_user.as_ref();
    let (text, subject) = match destination.channel {
        Channel::Email => (
            template.and_then(|template| template.invite_email_message.as_deref()).unwrap_or(EMAIL),
            Some(
                template
                    .and_then(|template| template.invite_email_subject.as_deref())
                    .unwrap_or(SUBJECT),
            ),
        ),
        Channel::Sms => (
            template.and_then(|template| template.invite_sms_message.as_deref()).unwrap_or(SMS),
            None,
        ),
    };
    message(record, user, destination, text, subject, temporary_password)
}

fn message(
    record: &PoolRecord,
    user: &UserRecord,
    destination: &Destination,
    text: &str,
    subject: Option<&str>,
    code: &SecretString,
) -> Message {
    let (username, code) = (called(record, user), code.expose());
    // a template that is HTML must not be taken over by a user name
    let is_html = destination.channel == Channel::Email && text.contains('<');
    let body = if is_html {
        fill(text, &escape(username), &escape(code), None)
    } else {
        fill(text, username, code, None)
    };
    Message {
        to: destination.address.clone(),
        channel: destination.channel,
        subject: subject.map(|subject| fill(subject, username, code, None)),
        body,
        is_html,
        plain: None,
        code: Some(code.clone()),
        sender: sender(record),
    }
}

/// Whom an e-mail of the pool is from, where it is not from the operator: `From`, or the address that
/// `SourceArn` names.
pub(crate) fn sender(record: &PoolRecord) -> Sender {
    let named = record.email_source_arn.as_deref().and_then(email::identity);
    let address = named.filter(|identity| identity.contains('@')).map(str::to_owned);
    Sender { from: record.email_from.clone().or(address), reply_to: record.email_reply_to.clone() }
}

/// A text as HTML shows it.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The channel of what [`Destination::details`] and the simulated answers say.
pub fn channel_of(details: &CodeDeliveryDetailsType) -> Channel {
    match details.delivery_medium.as_deref() {
        Some("SMS") => Channel::Sms,
        _ => Channel::Email,
    }
}

/// What users call themselves: where the user name is generated, the address that they sign in by.
pub(crate) fn called<'a>(record: &PoolRecord, user: &'a UserRecord) -> &'a str {
    let mut names = record.username_attributes.iter();
    names.find_map(|name| attributes::value(user, name)).unwrap_or(&user.username)
}

/// Whether a text has a place for a code, or for a link where one is sent.
pub(crate) fn has_place(text: &str, has_link: bool) -> bool {
    let mut from = text.match_indices('{').filter_map(|(at, _)| text.get(at..));
    text.contains(CODE_PLACE) || (has_link && from.any(|from| link_text(from).is_some()))
}

/// The same message with another text, or another subject, where they are given.
pub(crate) fn in_other_words(
    mut message: Message,
    (text, subject): (Option<&str>, Option<&str>),
    username: &str,
    link: Option<&SecretString>,
) -> Message {
    let code = message.code.clone().unwrap_or_default();
    if let Some(subject) = subject {
        message.subject = Some(fill(subject, username, &code, None));
    }
    let Some(text) = text else { return message };
    message.is_html = message.channel == Channel::Email && (text.contains('<') || link.is_some());
    message.body = if message.is_html {
        let link = link.map(|link| escape(link.expose()));
        fill(text, &escape(username), &escape(&code), link.as_deref())
    } else {
        fill(text, username, &code, None)
    };
    message
}

/// Fills a template in; with a link, also what stands for that, as HTML. What is filled in is not looked at
/// again: a user name cannot smuggle in the place of the code.
fn fill(template: &str, username: &str, code: &str, link: Option<&str>) -> String {
    let mut filled = String::with_capacity(template.len() + username.len() + code.len());
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        filled.push_str(before);
        if let Some(after) = from.strip_prefix(CODE_PLACE) {
            filled.push_str(code);
            rest = after;
        } else if let Some(after) = from.strip_prefix(USERNAME_PLACE) {
            filled.push_str(username);
            rest = after;
        } else if let Some((link, (text, after))) = link.zip(link_text(from)) {
            filled.push_str(&format!("<a href=\"{link}\">{text}</a>"));
            rest = after;
        } else {
            filled.push('{');
            rest = from.strip_prefix('{').unwrap_or_default();
        }
    }
    filled.push_str(rest);
    filled
}

/// The text of a link that a template begins with, and what follows the link.
fn link_text(template: &str) -> Option<(&str, &str)> {
    let (text, after) = template.strip_prefix(LINK_START)?.split_once(LINK_END)?;
    (!text.is_empty()).then_some((text, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in_once() {
        assert_eq!(fill("Hi {username}: {####}!", "ada", "123456", None), "Hi ada: 123456!");
        assert_eq!(fill("{{####}} {###} {####", "ada", "1", None), "{1} {###} {####");
        assert_eq!(fill("{username}", "{####}", "123456", None), "{####}");
    }

    #[test]
    fn links_are_filled_in_where_there_are_links() {
        let fill = |template| fill(template, "{##x##}", "1", Some("u"));
        assert_eq!(
            fill("{##Verify##} {username} {##Again"),
            "<a href=\"u\">Verify</a> {##x##} {##Again"
        );
        assert_eq!(fill("{####} {##a##}{##b##}"), "1 <a href=\"u\">a</a><a href=\"u\">b</a>");
        assert_eq!(super::fill("{##Verify##}", "ada", "1", None), "{##Verify##}");
    }

    /// S45: a name that is filled into HTML is a text there.
    #[test]
    fn s45_what_is_filled_into_html_is_escaped() {
        assert_eq!(
            escape("<a href=\"x\">it's & so</a>"),
            "&lt;a href=&quot;x&quot;&gt;it&#39;s &amp; so&lt;/a&gt;"
        );
    }
}
