//! Confirmation codes: six digits, sent to an address, good for one use. A guess counts before anybody
//! learns whether it was right, and the number of guesses in an hour is limited by user.

use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::{mac, seal::Purpose, secret::SecretString};
use conclave_outbound::Channel;
use conclave_store::{
    keys::{self, UserChild},
    records::{CodeRecord, UserRecord},
};

use super::{attributes, delivery::Destination, lookup};
use crate::{config::PoolConfig, errors, tx::Tx, world::World};

const HOUR_MS: i64 = 60 * 60 * 1_000;
/// Counters of names that no user has share this many rows in a pool: an attacker cannot fill the store.
const UNKNOWN_COUNTERS_LOG2: u32 = 20;

/// What a code is for. A code for one thing is no code for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodePurpose {
    /// Confirming a sign-up.
    SignUp,
    /// Verifying the e-mail address.
    VerifyEmail,
    /// Verifying the phone number.
    VerifyPhoneNumber,
    /// Setting a new password.
    ResetPassword,
}

impl CodePurpose {
    /// Names the row. Part of stored keys: never changed.
    pub const fn row(self) -> &'static [u8] {
        match self {
            Self::SignUp => b"sign_up",
            Self::VerifyEmail => b"verify_email",
            Self::VerifyPhoneNumber => b"verify_phone_number",
            Self::ResetPassword => b"reset_password",
        }
    }

    /// Verifying an address of this channel.
    pub const fn verify(channel: Channel) -> Self {
        match channel {
            Channel::Email => Self::VerifyEmail,
            Channel::Sms => Self::VerifyPhoneNumber,
        }
    }

    /// How long a code is good, in milliseconds. Source: developer guide, "Quotas in Amazon Cognito".
    const fn validity_ms(self) -> i64 {
        match self {
            Self::SignUp | Self::VerifyEmail | Self::VerifyPhoneNumber => 24 * HOUR_MS,
            Self::ResetPassword => HOUR_MS,
        }
    }
}

/// What is counted by user and hour. Source: developer guide, "Quotas in Amazon Cognito".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// ConfirmSignUp.
    ConfirmSignUp,
    /// ResendConfirmationCode.
    ResendConfirmationCode,
    /// ForgotPassword.
    ForgotPassword,
    /// ConfirmForgotPassword.
    ConfirmForgotPassword,
    /// ChangePassword.
    ChangePassword,
    /// GetUserAttributeVerificationCode.
    GetUserAttributeVerificationCode,
    /// VerifyUserAttribute.
    VerifyUserAttribute,
    /// Codes that are sent at sign-in.
    SignInCode,
    /// UpdateUserAttributes that sends a code.
    UpdateUserAttributes,
    /// AdminUpdateUserAttributes that sends a code.
    AdminUpdateUserAttributes,
    /// AdminResetUserPassword.
    AdminResetUserPassword,
    /// AdminCreateUser that sends an invitation again.
    AdminCreateUser,
}

impl Limited {
    /// Names the row. Part of stored keys: never changed.
    const fn row(self) -> u8 {
        match self {
            Self::ConfirmSignUp => 1,
            Self::ResendConfirmationCode => 2,
            Self::ForgotPassword => 3,
            Self::ConfirmForgotPassword => 4,
            Self::ChangePassword => 5,
            Self::GetUserAttributeVerificationCode => 6,
            Self::VerifyUserAttribute => 7,
            Self::SignInCode => 80,
            Self::UpdateUserAttributes => 8,
            Self::AdminUpdateUserAttributes => 9,
            Self::AdminResetUserPassword => 10,
            Self::AdminCreateUser => 11,
        }
    }

    /// Times in an hour. For password resets the service says 5 to 20, by risk. For the last four it says
    /// nothing, and they are judgement: a user can have mail sent anywhere, as often as by asking for a code;
    /// an administrator is let do more.
    const fn max(self) -> i64 {
        match self {
            Self::ConfirmSignUp | Self::ConfirmForgotPassword | Self::VerifyUserAttribute => 15,
            Self::ResendConfirmationCode
            | Self::ForgotPassword
            | Self::ChangePassword
            | Self::GetUserAttributeVerificationCode
            | Self::UpdateUserAttributes => 5,
            Self::AdminUpdateUserAttributes
            | Self::AdminResetUserPassword
            | Self::AdminCreateUser => 20,
            // ours: so many that nobody who signs in meets it, and few for who wants to flood a phone
            Self::SignInCode => 30,
        }
    }

    /// What is answered beyond that, as far as the operation declares it.
    fn refusal(self) -> ApiError {
        match self {
            Self::SignInCode => errors::too_many_requests(),
            Self::UpdateUserAttributes
            | Self::AdminUpdateUserAttributes
            | Self::AdminCreateUser => ExceptionName::TooManyRequestsException
                .because("Attempt limit exceeded, please try after some time."),
            _ => errors::attempt_limit_exceeded(),
        }
    }
}

/// Draws a code for `user` and remembers it in place of an earlier one. The caller sends what is answered.
///
/// # Errors
/// InternalErrorException when the pool's keys cannot be used.
pub fn issue(
    tx: &mut Tx<'_>,
    user: &UserRecord,
    purpose: CodePurpose,
    destination: &Destination,
) -> Result<SecretString, ApiError> {
    issue_for(tx, user, purpose, destination, false)
}

/// [`issue`], for an address that is the user's when it is verified and not before.
///
/// # Errors
/// As [`issue`].
pub fn issue_pending(
    tx: &mut Tx<'_>,
    user: &UserRecord,
    destination: &Destination,
) -> Result<SecretString, ApiError> {
    issue_for(tx, user, CodePurpose::verify(destination.channel), destination, true)
}

fn issue_for(
    tx: &mut Tx<'_>,
    user: &UserRecord,
    purpose: CodePurpose,
    destination: &Destination,
    is_pending: bool,
) -> Result<SecretString, ApiError> {
    let config = tx.pool()?;
    let code = tx.memo().code(tx.world(), purpose.row());
    let expires_ms = tx.now_ms() + purpose.validity_ms();
    let mut record = CodeRecord {
        code_mac: Bytes::new(),
        attribute: destination.attribute.to_owned(),
        destination: destination.address.clone(),
        sent_ms: tx.now_ms(),
        expires_ms,
        is_pending,
    };
    record.code_mac = config
        .keyring
        .mac(Purpose::CodeHmac, &mac_fields(&config, &user.sub, purpose, &record, code.expose()))
        .map_err(|_| errors::internal("a code could not be authenticated"))?
        .into();
    tx.rely_on_root(keys::user(&user.sub));
    tx.put_expiring(key(&user.sub, purpose), &record, expires_ms);
    Ok(code)
}

/// The row of a user's code.
pub fn key(sub: &str, purpose: CodePurpose) -> Vec<u8> {
    keys::user_child(sub, UserChild::Code, purpose.row())
}

/// Checks a code that was given against the one that was sent. It is good as long as the user still has
/// the address that it was sent to, or the address is pending.
///
/// # Errors
/// ExpiredCodeException when the address is another; CodeMismatchException when the code is.
pub fn check(
    config: &PoolConfig,
    user: &UserRecord,
    purpose: CodePurpose,
    record: &CodeRecord,
    given: &str,
) -> Result<(), ApiError> {
    let present = attributes::value(user, &record.attribute);
    if !record.is_pending && present != Some(record.destination.as_str()) {
        return Err(expired());
    }
    let fields = mac_fields(config, &user.sub, purpose, record, given);
    if config.keyring.verify_mac(Purpose::CodeHmac, &fields, &record.code_mac) {
        return Ok(());
    }
    Err(mismatch())
}

/// The code is another.
pub fn mismatch() -> ApiError {
    ExceptionName::CodeMismatchException
        .because("Invalid verification code provided, please try again.")
}

/// There is no code, or it is no longer good.
pub fn expired() -> ApiError {
    ExceptionName::ExpiredCodeException
        .because("Invalid code provided, please request a code again.")
}

fn mac_fields<'a>(
    config: &'a PoolConfig,
    sub: &'a str,
    purpose: CodePurpose,
    record: &'a CodeRecord,
    code: &'a str,
) -> [&'a [u8]; 6] {
    [
        config.id().as_bytes(),
        sub.as_bytes(),
        purpose.row(),
        record.attribute.as_bytes(),
        record.destination.as_bytes(),
        code.as_bytes(),
    ]
}

/// Counts an attempt of a user. Beyond the limit the commit fails with LimitExceededException, or what the
/// operation has in its place, whatever else it holds: so the right code is refused as well.
pub fn count(tx: &mut Tx<'_>, sub: &str, what: Limited) {
    tx.rely_on_root(keys::user(sub));
    let hour = tx.now_ms().div_euclid(HOUR_MS);
    let row = [&[what.row()][..], &hour.to_be_bytes()].concat();
    add(tx, keys::user_child(sub, UserChild::Rate, &row), what);
}

/// Counts an attempt under a name that no user has, so that the limit does not tell who exists.
pub fn count_unknown(tx: &mut Tx<'_>, config: &PoolConfig, name: &str, what: Limited) {
    let hour = tx.now_ms().div_euclid(HOUR_MS);
    let secret: [u8; 32] = config.fake_users.bytes("attempts with codes", "");
    let name = lookup::folded(config, name);
    let digest = mac::hmac_sha256(&secret, &[&hour.to_be_bytes(), name.as_bytes()]);
    let [a, b, c, d, ..] = digest;
    let number = u32::from_be_bytes([a, b, c, d]) >> (32 - UNKNOWN_COUNTERS_LOG2);
    // longer than the keys of failed sign-ins, so that the two do not meet
    let row = [&[what.row()][..], &number.to_be_bytes()].concat();
    add(tx, keys::unknown_attempts(&row), what);
}

/// The row that remembers that a password reset was asked for under a name that no user has, or none who
/// may reset, so that what follows looks like that of a user. Names share 2^20 of them in a pool.
pub fn simulated_reset_key(world: &World, pool_id: &str, folded: &str) -> Vec<u8> {
    // apart from the rows of the counters, which begin with the number of what is limited
    const ROW: u8 = 0xc0;
    let key = mac::derive_key(&world.hint_key, "simulated resets", &[pool_id.as_bytes()]);
    let [a, b, c, d, ..] = mac::hmac_sha256(key.expose(), &[folded.as_bytes()]);
    let number = u32::from_be_bytes([a, b, c, d]) >> (32 - UNKNOWN_COUNTERS_LOG2);
    keys::unknown_attempts(&[&[ROW][..], &number.to_be_bytes()].concat())
}

/// Remembers a simulated reset for as long as a code would be good.
pub fn remember_simulated_reset(tx: &mut Tx<'_>, config: &PoolConfig, name: &str) {
    let folded = lookup::folded(config, name);
    let key = simulated_reset_key(tx.world(), config.id(), &folded);
    let until_ms = tx.now_ms() + CodePurpose::ResetPassword.validity_ms();
    // with a value: whoever looks sees whether the row is there by it
    tx.put_bytes(key, Bytes::from_static(b"1"), Some(until_ms));
}

fn add(tx: &mut Tx<'_>, key: Vec<u8>, what: Limited) {
    let hour = tx.now_ms().div_euclid(HOUR_MS);
    let ends_ms = (hour + 1) * HOUR_MS;
    tx.add(key, 1, Some((what.max(), what.refusal())), Some(ends_ms));
}
