//! Codes by e-mail and text message at sign-in: drawn for one session, sent to one address, good once. What
//! checks a code is sealed in the session, so that a code of one session is none of another's; wrong ones
//! are counted by user, in all sessions together.

use std::collections::BTreeMap;

use conclave_api::{ApiError, ExceptionName, types::CodeDeliveryDetailsType};
use conclave_crypto::{seal::Purpose, secret::SecretString};
use conclave_outbound::Channel;
use conclave_store::records::{ChallengeSession, UserRecord};

use crate::{
    config::PoolConfig,
    errors,
    triggers::custom_message::{self, Reason},
    tx::Tx,
    users::{
        attributes,
        codes::{self, Limited},
        delivery::{self, Destination},
    },
};

/// Of the codes that a request can draw, the one for its sign-in.
const MEMO: &[u8] = b"sign_in";

/// How a message leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Before the answer.
    Awaited,
    /// Later: the answer must not tell by its time whether there is a message.
    Queued,
}

/// Draws a code for `user`, sends it after the commit, and puts into `session` what checks it.
///
/// # Errors
/// InternalErrorException when the pool's keys cannot be used.
pub fn send(
    tx: &mut Tx<'_>,
    user: &UserRecord,
    destination: &Destination,
    session: &mut ChallengeSession,
    delivery: Delivery,
) -> Result<(), ApiError> {
    let config = tx.pool()?;
    let code = draw(tx);
    destination.attribute.clone_into(&mut session.attribute);
    session.destination.clone_from(&destination.address);
    session.code_mac = config
        .keyring
        .mac(Purpose::CodeHmac, &fields(&config, session, code.expose()))
        .map_err(|_| errors::internal("a code could not be authenticated"))?
        .into();
    let message = delivery::sign_in_code(&config, user, destination, &code);
    let draft = custom_message::draft(tx, Reason::Authentication, user, message, None)?;
    tx.refuse_delivery_as(errors::sign_in_delivery);
    codes::count(tx, &user.sub, Limited::SignInCode);
    match delivery {
        Delivery::Awaited => tx.send(draft),
        Delivery::Queued => tx.post(draft),
    }
    Ok(())
}

/// Sends nothing, as if to a user named `name`: with the same work, and as many times in an hour.
pub fn pretend(tx: &mut Tx<'_>, config: &PoolConfig, name: &str, channel: Channel) {
    let _ = draw(tx);
    tx.refuse_delivery_as(errors::sign_in_delivery);
    codes::count_unknown(tx, config, name, Limited::SignInCode);
    tx.pretend(channel);
}

fn draw(tx: &Tx<'_>) -> SecretString {
    tx.memo().code(tx.world(), MEMO)
}

/// Whether `code` is the one of this session, and the address still the user's.
pub fn is_right(
    config: &PoolConfig,
    user: &UserRecord,
    session: &ChallengeSession,
    code: &str,
) -> bool {
    let present = attributes::value(user, &session.attribute);
    let is_theirs =
        session.sets_up_address || present.is_some_and(|present| present == session.destination);
    is_theirs
        && config.keyring.verify_mac(
            Purpose::CodeHmac,
            &fields(config, session, code),
            &session.code_mac,
        )
}

fn fields<'a>(
    config: &'a PoolConfig,
    session: &'a ChallengeSession,
    code: &'a str,
) -> [&'a [u8]; 6] {
    [
        b"sign in",
        config.id().as_bytes(),
        session.sub.as_bytes(),
        session.challenge.as_bytes(),
        session.destination.as_bytes(),
        code.as_bytes(),
    ]
}

/// Adds to ChallengeParameters where the code went.
pub fn describe(details: CodeDeliveryDetailsType, parameters: &mut BTreeMap<String, String>) {
    // Cognito's own spelling
    let medium = details.delivery_medium.unwrap_or_default();
    parameters.insert("CODE_DELIVERY_DELIVERY_MEDIUM".to_owned(), medium);
    let destination = details.destination.unwrap_or_default();
    parameters.insert("CODE_DELIVERY_DESTINATION".to_owned(), destination);
}

/// A wrong code by e-mail or text message.
pub fn mismatch() -> ApiError {
    ExceptionName::CodeMismatchException.because("Invalid code or auth state for the user.")
}
