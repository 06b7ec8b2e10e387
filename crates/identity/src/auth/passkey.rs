//! WEB_AUTHN: a sign-in with a passkey. It begins by choice ([`choice`](super::choice)), and its session holds the challenge.
//!
//! A client that hides who exists is given the same options for everybody, without the ids of passkeys: all are
//! discoverable, so the authenticator finds the user's itself. Who has none, or does not exist, is refused as one whose
//! signature is wrong. Failures are not counted: there is nothing to guess, and whoever locks a user's password must not
//! keep the user out who has a passkey.

use std::sync::LazyLock;

use conclave_api::ApiError;
use conclave_crypto::{
    encoding, entropy,
    webauthn::{AuthenticationResponse, Credential, Expected, Refusal, assertion},
};
use conclave_store::records::{ChallengeSession, Passkey};

use super::{
    challenge_session, choice,
    device_auth::Over,
    factors,
    machine::{self, First},
    step::{self, Step, required},
    tokens,
};
use crate::{
    config::{ClientConfig, PoolConfig},
    errors,
    passkeys::{self, options, rows},
    tx::{Failure, Tx},
    users::lookup::FoundUser,
};

/// Where the options stand among the ChallengeParameters.
pub const OPTIONS: &str = "CREDENTIAL_REQUEST_OPTIONS";
/// Where the answer stands among the ChallengeResponses.
pub const ANSWER: &str = "CREDENTIAL";

/// Draws a challenge, puts it into `session`, and answers the options of a sign-in. For a client that is
/// told who exists, the user's passkeys must have been loaded.
///
/// # Errors
/// InternalErrorException when there is no relying party: [`is_offered`] comes first.
pub fn begin(
    tx: &Tx<'_>,
    client: &ClientConfig,
    found: Option<&FoundUser>,
    session: &mut ChallengeSession,
) -> Result<String, ApiError> {
    const CHALLENGE_BYTES: usize = 32;
    let config = tx.pool()?;
    let rp_id = passkeys::relying_party_id(tx.world(), &config.record)
        .ok_or_else(|| errors::internal("a pool without a relying party offers passkeys"))?;
    let challenge = entropy::bytes::<CHALLENGE_BYTES>(&*tx.world().entropy);
    session.web_authn_challenge = challenge.to_vec().into();
    let shown = found.filter(|_| !client.hides_users());
    let passkeys = shown.map(|found| rows::load(tx, found.sub())).transpose()?.unwrap_or_default();
    let verifies = match shown {
        Some(found) => verifies_user(&config, found),
        None => factors::of_pool(&config.record).verifies_passkey_users,
    };
    let verification = if verifies { "required" } else { "preferred" };
    let options = options::request(
        &passkeys,
        (&rp_id, &encoding::base64url(challenge)),
        (verification, challenge_session::validity_ms(client)),
    );
    Ok(options.to_string())
}

/// Whether the pool has what a sign-in with a passkey needs.
pub fn is_offered(tx: &Tx<'_>, config: &PoolConfig) -> bool {
    passkeys::relying_party_id(tx.world(), &config.record).is_some()
}

/// Whether the authenticator must verify this user.
fn verifies_user(config: &PoolConfig, found: &FoundUser) -> bool {
    let pool = factors::of_pool(&config.record);
    machine::verifies_passkey_user(&pool, &factors::of_user(&found.user.record))
}

/// Answers WEB_AUTHN, and SELECT_CHALLENGE with the passkey at once. The session is used up also where the
/// answer is wrong. The user's passkeys must have been loaded.
///
/// # Errors
/// InvalidParameterException for what is no answer; NotAuthorizedException.
pub async fn answer(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    given: &choice::Given<'_>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    let config = tx.pool()?;
    let credential = required(given.responses, ANSWER)?;
    let response = AuthenticationResponse::parse(credential.as_bytes()).map_err(|_| {
        // the text is ours
        ApiError::invalid_parameter(
            "CREDENTIAL is not an AuthenticationResponseJSON that can be read.",
        )
    })?;
    let somebody = given.somebody(&config, found)?;
    if let Some(found) = &somebody.found {
        step::may_try(client, &found.user.record)?;
    }
    challenge_session::consume(tx, given.sealed, given.session);
    let open =
        somebody.found.as_ref().filter(|found| choice::is_open(&config, found, First::WebAuthn));
    let verdict = verdict(tx, &config, open, given.session, &response)?;
    let (Some(found), Ok(passkeys)) = (open, verdict) else {
        return Err(Failure::RefusedAfterCommit(errors::incorrect_username_or_password()));
    };
    challenge_session::rely_on_user(tx, found.sub());
    rows::put(tx, found.sub(), passkeys);
    let event_id = &given.session.event_id;
    let user = &found.user.record;
    let over = match machine::passkey_is_two_factors(
        &factors::of_pool(&config.record),
        &factors::of_user(user),
    ) {
        true => Over::Yes,
        false => Over::No,
    };
    Ok(Step::Tokens(tokens::begin_session(tx, client, user, event_id, over).await?))
}

/// Checks an answer, for nobody with as much work as for somebody. Answers the user's passkeys as they are
/// after it.
fn verdict(
    tx: &Tx<'_>,
    config: &PoolConfig,
    found: Option<&FoundUser>,
    session: &ChallengeSession,
    response: &AuthenticationResponse,
) -> Result<Result<Vec<Passkey>, Refusal>, ApiError> {
    let Some(rp_id) = passkeys::relying_party_id(tx.world(), &config.record) else {
        return Ok(Err(Refusal::RelyingParty));
    };
    let expected = Expected {
        rp_id: &rp_id,
        challenge: &session.web_authn_challenge,
        user_verification: match found {
            Some(found) => verifies_user(config, found),
            None => factors::of_pool(&config.record).verifies_passkey_users,
        },
    };
    let mut passkeys = match found {
        Some(found) => rows::load(tx, found.sub())?,
        None => Vec::new(),
    };
    let is_theirs = |found: &FoundUser| {
        let handle = response.user_handle.as_deref();
        handle.is_none_or(|handle| handle == options::user_handle(found.sub()))
    };
    let passkey = passkeys
        .iter_mut()
        .find(|passkey| passkey.credential_id == response.id && passkey.relying_party_id == rp_id)
        .filter(|_| found.is_some_and(is_theirs));
    let Some(passkey) = passkey else {
        let nobody = Credential { public_key: &NOBODY, sign_count: 0, is_backup_eligible: true };
        // whatever it says
        let _ = assertion::verify(response, &nobody, &expected);
        return Ok(Err(Refusal::Signature));
    };
    let credential = Credential {
        public_key: &passkey.public_key,
        sign_count: passkey.sign_count,
        is_backup_eligible: passkey.is_backup_eligible,
    };
    match assertion::verify(response, &credential, &expected) {
        Ok(asserted) => {
            passkey.sign_count = asserted.sign_count;
            passkey.is_backed_up = asserted.is_backed_up;
            passkey.last_used_ms = tx.now_ms();
            Ok(Ok(passkeys))
        }
        Err(refusal) => {
            if refusal == Refusal::Counter {
                tracing::warn!(
                    "the signature counter of a passkey has gone back: it may have been copied"
                );
            }
            Ok(Err(refusal))
        }
    }
}

/// A key of ES256 that takes as long as any: the generator of P-256.
static NOBODY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    const X: [u8; 32] = [
        0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40,
        0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98,
        0xc2, 0x96,
    ];
    const Y: [u8; 32] = [
        0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e,
        0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf,
        0x51, 0xf5,
    ];
    // COSE_Key: EC2, ES256, P-256, x, y
    [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..], &X, &[0x22, 0x58, 32], &Y].concat()
});

#[cfg(test)]
mod tests {
    use conclave_crypto::webauthn::cose::PublicKey;

    use super::*;

    #[test]
    fn nobody_has_a_key_that_verifies() {
        assert!(PublicKey::parse(&NOBODY).is_ok());
    }
}
