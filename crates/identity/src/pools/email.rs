//! Whom a pool's e-mail is from. There is no SES here: messages leave by the operator's mail server, which a
//! pool may use under an address of a domain that the operator lets pools send from.
//!
//! Source: API reference, EmailConfigurationType; developer guide, "Email settings for Amazon Cognito user
//! pools". Texts are the service's, from reports of its answers, unless they say otherwise.

use conclave_api::{ApiError, types::EmailConfigurationType};
use conclave_outbound::is_of_domains;

use crate::{errors, users::contact, world::Settings};

const DEVELOPER: &str = "DEVELOPER";

/// What `SourceArn` names: an address or a domain. `arn:aws:ses:<region>:<account>:identity/<identity>`.
pub(crate) fn identity(source_arn: &str) -> Option<&str> {
    let mut parts = source_arn.splitn(6, ':');
    let is_ses = (parts.next(), parts.nth(1)) == (Some("arn"), Some("ses"));
    let identity =
        parts.nth(2)?.strip_prefix("identity/").filter(|identity| !identity.is_empty())?;
    is_ses.then_some(identity)
}

/// Checks an EmailConfiguration by itself and against what the operator allows.
///
/// # Errors
/// InvalidParameterException.
pub(crate) fn check(
    given: Option<&EmailConfigurationType>,
    settings: &Settings,
) -> Result<(), ApiError> {
    let Some(given) = given else { return Ok(()) };
    let is_developer = given.email_sending_account.as_deref() == Some(DEVELOPER);
    if given.reply_to_email_address.as_deref().is_some_and(|address| !contact::is_email(address)) {
        return Err(errors::invalid_parameter("Invalid email address format."));
    }
    let Some(arn) = &given.source_arn else {
        if is_developer {
            // no text is known
            return Err(errors::invalid_parameter(
                "SourceArn is required when EmailSendingAccount is DEVELOPER.",
            ));
        }
        if given.from.is_some() {
            return Err(errors::invalid_parameter(
                "Cannot configure From email address for default email configuration",
            ));
        }
        return Ok(());
    };
    // no text is known
    let identity = identity(arn).ok_or_else(|| {
        errors::invalid_parameter("SourceArn must be the ARN of an Amazon SES identity.")
    })?;
    let from = match &given.from {
        Some(from) => address(from)
            .ok_or_else(|| errors::invalid_parameter("Invalid email address format."))?,
        None if identity.contains('@') => identity,
        // no text is known
        None => {
            return Err(errors::invalid_parameter(
                "From is required when SourceArn is the ARN of a domain.",
            ));
        }
    };
    let is_covered = from.eq_ignore_ascii_case(identity) || is_of_domains(from, &[identity]);
    if !contact::is_email(from) || !is_covered || !settings.may_send_from(from) {
        return Err(errors::invalid_parameter(format!(
            "Cognito received the following error from Amazon SES when attempting to send email: Email \
             address is not verified. The following identities failed the check: {from}"
        )));
    }
    Ok(())
}

/// The address in `name <address>`, or in an address by itself.
fn address(from: &str) -> Option<&str> {
    let address = match from.rsplit_once('<') {
        Some((_, rest)) => rest.trim_end().strip_suffix('>')?,
        None => from,
    };
    let is_line = !from.chars().any(char::is_control);
    (is_line && contact::is_email(address)).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn check_with(
        domains: Option<&[&str]>,
        account: Option<&str>,
        arn: Option<&str>,
        from: Option<&str>,
    ) -> Result<(), String> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let settings = Settings {
            public_url: String::new(),
            pool_groups: 1,
            pools_per_account_max: 1,
            clients_per_pool_max: 1,
            limits: Limits::default(),
            sender_domains: domains
                .map(|domains| domains.iter().map(|domain| (*domain).to_owned()).collect()),
            signing_keys: crate::signing_keys::Timing::default(),
        };
        let given = EmailConfigurationType {
            email_sending_account: text(account),
            source_arn: text(arn),
            from: text(from),
            ..Default::default()
        };
        check(Some(&given), &settings).map_err(|error| error.message.into_owned())
    }

    const DOMAIN: Option<&str> = Some("arn:aws:ses:us-east-1:111122223333:identity/example.com");
    const ADDRESS: Option<&str> =
        Some("arn:aws:ses:us-east-1:111122223333:identity/no-reply@example.com");
    const ALLOWED: Option<&[&str]> = Some(&["example.com"]);

    #[test]
    fn a_sender_is_of_the_identity_and_of_a_domain_that_the_operator_allows() {
        let developer = Some(DEVELOPER);
        for domains in [ALLOWED, None] {
            for (arn, from) in [
                (ADDRESS, None),
                (ADDRESS, Some("Example <no-reply@example.com>")),
                (DOMAIN, Some("a@example.com")),
                (DOMAIN, Some("a@mail.EXAMPLE.com")),
            ] {
                assert_eq!(check_with(domains, developer, arn, from), Ok(()), "{from:?}");
            }
        }
        for (domains, from) in [
            (ALLOWED, "a@other.com"),
            (None, "a@other.com"),
            (ALLOWED, "a@badexample.com"),
            (Some(&["other.com"][..]), "a@example.com"),
            (Some(&[][..]), "a@example.com"),
        ] {
            let refusal = check_with(domains, developer, DOMAIN, Some(from)).unwrap_err();
            assert!(refusal.ends_with(&format!("failed the check: {from}")), "{refusal}");
        }
    }

    #[test]
    fn what_is_no_sender_is_refused() {
        let format = "Invalid email address format.";
        let default = "Cannot configure From email address for default email configuration";
        let missing = "SourceArn is required when EmailSendingAccount is DEVELOPER.";
        let domain = "From is required when SourceArn is the ARN of a domain.";
        for (account, arn, from, text) in [
            (Some(DEVELOPER), None, Some("a@example.com"), missing),
            (None, None, Some("a@example.com"), default),
            (Some(DEVELOPER), DOMAIN, None, domain),
            (Some(DEVELOPER), DOMAIN, Some("x"), format),
            (Some(DEVELOPER), DOMAIN, Some("<a@example.com> b"), format),
            (Some(DEVELOPER), DOMAIN, Some("a@example.com\r\nBcc: <b@example.com>"), format),
        ] {
            assert_eq!(check_with(None, account, arn, from), Err(text.to_owned()));
        }
        for arn in ["arn:aws:sns:us-east-1:111122223333:identity/example.com", "arn:aws:ses:x:y:z"]
        {
            assert!(check_with(None, None, Some(arn), None).unwrap_err().contains("SES identity"));
        }
    }
}
