//! What is done about a risk, and about a password that others know, where the mode is ENFORCED.
//!
//! A step of a sign-in is looked at before it is taken ([`look_ahead`]), and what is to be done about it is kept in the transaction.
//! It holds at three places: when the password has been proved (`auth/step.rs`), when it is decided whether a second factor is asked
//! for (`auth/second_factor.rs`), and in front of all tokens ([`check`]), so that no way past the others leads to any.
//!
//! | `EventAction` | what follows the first factor |
//! | --- | --- |
//! | `BLOCK` | a refusal, told only to who has proved the first factor, because nobody who does not exist can be risky |
//! | `MFA_REQUIRED` | a second factor, and a refusal to who has none |
//! | `MFA_IF_CONFIGURED` | a second factor, where there is one to ask for |
//! | `NO_ACTION` | what follows anyway |
//!
//! An address of BlockedIPRangeList is refused before anything else is looked at, so that no password can be tried from there.
//!
//! Sources: API reference, `AccountTakeoverActionType` and `UserPoolAddOnsType`; developer guide, "Working with adaptive
//! authentication", "Working with compromised-credentials detection". The texts of the refusals are the service's, as public clients
//! match them.

use std::net::IpAddr;

use conclave_api::{ApiError, ExceptionName};
use conclave_store::records::{RiskAction, RiskConfigurationRecord, UserRecord};

use super::{
    Mode,
    compromised::{self, GivenPassword},
    mode, ranges,
    record::{self, Known, SignInStep},
    risk::{Level, Risk},
};
use crate::{
    auth::{device_auth::Over, machine::Second, second_factor},
    tx::{Failure, Tx},
    users::{index, sign_out, status},
};

/// What is done about the risk of a sign-in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Action {
    /// NO_ACTION
    #[default]
    Nothing,
    /// MFA_IF_CONFIGURED
    SecondFactorIfPossible,
    /// MFA_REQUIRED
    SecondFactor,
    /// BLOCK
    Block,
}

impl Action {
    /// What a later version calls otherwise lets nobody in.
    fn named(name: &str) -> Self {
        match name {
            "NO_ACTION" => Self::Nothing,
            "MFA_IF_CONFIGURED" => Self::SecondFactorIfPossible,
            "MFA_REQUIRED" => Self::SecondFactor,
            _ => Self::Block,
        }
    }

    /// What is configured for a level. Without a configuration there is nothing to do.
    pub fn of(configuration: &RiskConfigurationRecord, level: Option<Level>) -> Self {
        let action = level.and_then(|level| configured(configuration, level));
        action.map_or(Self::Nothing, |action| Self::named(&action.event_action))
    }
}

/// What is configured for a level, with whether the user is told.
pub(super) fn configured(
    configuration: &RiskConfigurationRecord,
    level: Level,
) -> Option<&RiskAction> {
    let takeover = configuration.account_takeover.as_ref()?;
    match level {
        Level::Low => takeover.low.as_ref(),
        Level::Medium => takeover.medium.as_ref(),
        Level::High => takeover.high.as_ref(),
    }
}

/// What is to be done in a step of a sign-in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Enforcement {
    action: Action,
    /// The password that was sent is known to others.
    resets_password: bool,
    is_blocked: bool,
}

impl Enforcement {
    /// Whether a second factor is asked for because of the risk, and whether who has none is refused.
    pub fn asks_second_factor(self) -> Option<bool> {
        match self.action {
            Action::Nothing | Action::Block => None,
            Action::SecondFactorIfPossible => Some(false),
            Action::SecondFactor => Some(true),
        }
    }

    /// Whether the sign-in is refused because of the risk.
    pub fn blocks(self) -> bool {
        self.action == Action::Block
    }

    /// Whether it has been refused.
    pub fn is_blocked(self) -> bool {
        self.is_blocked
    }
}

/// Looks at a step before it is taken, where the mode is ENFORCED. Takes one read, of somebody as of nobody, and answers what it has
/// read.
///
/// # Errors
/// NotAuthorizedException for a blocked address; the store's.
pub async fn look_ahead(tx: &mut Tx<'_>, step: &SignInStep<'_>) -> Result<Option<Known>, Failure> {
    if mode(&tx.pool()?.record, step.flow) != Mode::Enforced {
        return Ok(None);
    }
    let known = record::load_step(tx, step).await?;
    let address = step.context.address(step.client, step.is_signed);
    check_address(&known.configuration, address)?;
    let password = step.password.filter(|given| matches!(given, GivenPassword::SignIn(_)));
    let enforcement = Enforcement {
        action: Action::of(&known.configuration, known.level(tx, step)),
        resets_password: password.is_some_and(|given| is_refused(tx, &known.configuration, given)),
        is_blocked: false,
    };
    tx.enforce(enforcement);
    Ok(Some(known))
}

/// # Errors
/// NotAuthorizedException for an address that is always blocked.
pub fn check_address(
    configuration: &RiskConfigurationRecord,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let blocked = configuration.exceptions.as_ref().map(|exceptions| &exceptions.blocked_ip_ranges);
    match blocked.zip(address) {
        Some((blocked, address)) if ranges::includes(blocked, address) => {
            Err(ApiError::not_authorized("Request not allowed due to security reasons."))
        }
        _ => Ok(()),
    }
}

/// # Errors
/// InvalidPasswordException for a password that others know.
pub fn check_password(
    tx: &Tx<'_>,
    configuration: &RiskConfigurationRecord,
    given: GivenPassword<'_>,
) -> Result<(), ApiError> {
    if is_refused(tx, configuration, given) {
        return Err(ExceptionName::InvalidPasswordException
            .because("Provided password cannot be used for security reasons."));
    }
    Ok(())
}

/// Whether a password is known to others and that is not to be let pass. An operator who has given a list, and an administrator who
/// has set ENFORCED, mean it where nothing is configured.
fn is_refused(
    tx: &Tx<'_>,
    configuration: &RiskConfigurationRecord,
    given: GivenPassword<'_>,
) -> bool {
    let risk = configuration.compromised_credentials.as_ref();
    risk.is_none_or(|risk| risk.event_action != "NO_ACTION")
        && compromised::look(tx.world(), configuration, given) == Some(true)
}

/// What is done when the password has been proved: who has one that others know has to set another, and who is blocked goes no
/// further. The user must have been loaded.
///
/// # Errors
/// PasswordResetRequiredException and NotAuthorizedException, told after the commit.
pub fn after_password(tx: &mut Tx<'_>, user: &UserRecord) -> Result<(), Failure> {
    let enforcement = tx.enforcement();
    // an administrator's is replaced anyway, and the new one is looked at
    if enforcement.resets_password && user.status != status::FORCE_CHANGE_PASSWORD {
        let mut reset = user.clone();
        status::RESET_REQUIRED.clone_into(&mut reset.status);
        reset.modified_ms = tx.now_ms();
        // somebody else may have been here before
        reset.sessions_valid_from_ms = sign_out::valid_from_ms(user, tx.now_ms());
        index::write_user(tx, Some(user), &reset)?;
        return Err(refuse(tx, status::password_reset_required()));
    }
    if enforcement.blocks() { Err(blocked(tx)) } else { Ok(()) }
}

/// Whether tokens may be issued to a user, as far as the risk goes.
///
/// # Errors
/// NotAuthorizedException, told after the commit.
pub fn check(tx: &mut Tx<'_>, user: &UserRecord, over: Over) -> Result<(), Failure> {
    let enforcement = tx.enforcement();
    let is_missing = enforcement.asks_second_factor().is_some()
        && over == Over::No
        && second_factor::of(tx, user)? != Second::Nothing;
    if enforcement.blocks() || is_missing { Err(blocked(tx)) } else { Ok(()) }
}

/// Refuses a sign-in because of its risk.
pub fn blocked(tx: &mut Tx<'_>) -> Failure {
    refuse(tx, ApiError::not_authorized("Unable to login because of security reasons."))
}

fn refuse(tx: &mut Tx<'_>, error: ApiError) -> Failure {
    tx.enforce(Enforcement { is_blocked: true, ..tx.enforcement() });
    Failure::RefusedAfterCommit(error)
}

/// The higher of what a sign-in was judged to be when it began, and what it is now.
pub fn higher(before: &str, now: &Risk) -> Option<Level> {
    Level::named(before).max(now.level)
}

#[cfg(test)]
mod tests {
    use conclave_store::records::AccountTakeoverRisk;

    use super::*;

    #[test]
    fn each_level_has_its_action() {
        let action = |name: &str| Some(RiskAction { event_action: name.to_owned(), notify: false });
        let configuration = RiskConfigurationRecord {
            account_takeover: Some(AccountTakeoverRisk {
                low: action("MFA_IF_CONFIGURED"),
                medium: action("MFA_REQUIRED"),
                high: action("BLOCK"),
                ..Default::default()
            }),
            ..Default::default()
        };
        let of = |level| Action::of(&configuration, level);
        assert_eq!(of(None), Action::Nothing);
        assert_eq!(of(Some(Level::Low)), Action::SecondFactorIfPossible);
        assert_eq!(of(Some(Level::Medium)), Action::SecondFactor);
        assert_eq!(of(Some(Level::High)), Action::Block);
        let nothing = RiskConfigurationRecord::default();
        assert_eq!(Action::of(&nothing, Some(Level::High)), Action::Nothing);
        assert_eq!(Action::named("NO_ACTION"), Action::Nothing);
        assert_eq!(Action::named("A_LATER_ONE"), Action::Block);
    }

    #[test]
    fn a_sign_in_does_not_become_less_risky_on_its_way() {
        let now = |level| Risk { level, reasons: Vec::new() };
        assert_eq!(higher("", &now(None)), None);
        assert_eq!(higher("Medium", &now(None)), Some(Level::Medium));
        assert_eq!(higher("Low", &now(Some(Level::High))), Some(Level::High));
    }
}
