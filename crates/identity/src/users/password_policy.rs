//! What a pool asks of a password.

use conclave_api::{ApiError, ExceptionName};
use conclave_store::records::PasswordPolicy;

use crate::config::PoolConfig;

/// How an operation words a refusal: Cognito has three texts for the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wording {
    /// SignUp: `Password did not conform with policy: ...`
    SignUp,
    /// AdminCreateUser: `Password did not conform with password policy: ...`
    AdminCreateUser,
    /// RespondToAuthChallenge, AdminSetUserPassword: `Password does not conform to policy: ...`
    NewPassword,
}

/// The policy of a pool.
pub fn of(config: &PoolConfig) -> PasswordPolicy {
    config.record.password_policy.unwrap_or(DEFAULT)
}

/// What a pool asks that was made without a policy. Source: API reference, PasswordPolicyType.
const DEFAULT: PasswordPolicy = PasswordPolicy {
    minimum_length: 8,
    require_uppercase: true,
    require_lowercase: true,
    require_numbers: true,
    require_symbols: true,
    temporary_password_validity_days: TEMPORARY_DAYS_DEFAULT,
    password_history_size: 0,
};

/// How long a temporary password lasts where the pool does not say.
const TEMPORARY_DAYS_DEFAULT: u32 = 7;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// When a temporary password that is set at `now_ms` stops working.
pub fn temporary_until_ms(policy: &PasswordPolicy, now_ms: i64) -> i64 {
    let days = match policy.temporary_password_validity_days {
        0 => TEMPORARY_DAYS_DEFAULT,
        days => days,
    };
    now_ms.saturating_add(i64::from(days) * DAY_MS)
}

/// The characters that count as symbols. Source: developer guide, "Adding user pool password
/// requirements". A space counts when it is neither first nor last.
const SYMBOLS: &str = "^$*.[]{}()?-\"!@#%&/\\,><':;|_~`+=";

/// Checks `password` against `policy`.
///
/// # Errors
/// InvalidPasswordException with the first rule that is broken.
pub fn check(policy: &PasswordPolicy, password: &str, wording: Wording) -> Result<(), ApiError> {
    match first_violation(policy, password) {
        None => Ok(()),
        Some(rule) => {
            let prefix = match wording {
                Wording::SignUp => "Password did not conform with policy",
                Wording::AdminCreateUser => "Password did not conform with password policy",
                Wording::NewPassword => "Password does not conform to policy",
            };
            Err(ApiError::new(ExceptionName::InvalidPasswordException, format!("{prefix}: {rule}")))
        }
    }
}

fn first_violation(policy: &PasswordPolicy, password: &str) -> Option<&'static str> {
    let length = password.encode_utf16().count();
    let has = |test: fn(char) -> bool| password.chars().any(test);
    if length < policy.minimum_length as usize {
        return Some("Password not long enough");
    }
    if policy.require_lowercase && !has(|c| c.is_ascii_lowercase()) {
        return Some("Password must have lowercase characters");
    }
    if policy.require_uppercase && !has(|c| c.is_ascii_uppercase()) {
        return Some("Password must have uppercase characters");
    }
    if policy.require_numbers && !has(|c| c.is_ascii_digit()) {
        return Some("Password must have numeric characters");
    }
    if policy.require_symbols && !has_symbol(password) {
        return Some("Password must have symbol characters");
    }
    None
}

fn has_symbol(password: &str) -> bool {
    password.chars().any(|c| SYMBOLS.contains(c)) || password.trim_matches(' ').contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_policy() -> PasswordPolicy {
        PasswordPolicy {
            minimum_length: 8,
            require_uppercase: true,
            require_lowercase: true,
            require_numbers: true,
            require_symbols: true,
            ..Default::default()
        }
    }

    #[test]
    fn the_first_broken_rule_is_named() {
        let policy = default_policy();
        let refusal = |password| check(&policy, password, Wording::SignUp).unwrap_err().message;
        assert_eq!(
            refusal("Aa1!"),
            "Password did not conform with policy: Password not long enough"
        );
        assert_eq!(
            refusal("aaaaaa1!"),
            "Password did not conform with policy: Password must have uppercase characters"
        );
        assert_eq!(
            refusal("AAAAAA1!"),
            "Password did not conform with policy: Password must have lowercase characters"
        );
        assert_eq!(
            refusal("AAAAAAa!"),
            "Password did not conform with policy: Password must have numeric characters"
        );
        assert_eq!(
            refusal("AAAAAAa1"),
            "Password did not conform with policy: Password must have symbol characters"
        );
        assert_eq!(check(&policy, "Correct1!", Wording::SignUp), Ok(()));
    }

    #[test]
    fn each_operation_has_its_wording() {
        let policy = default_policy();
        let refusal = |wording| check(&policy, "short", wording).unwrap_err().message;
        assert_eq!(
            refusal(Wording::AdminCreateUser),
            "Password did not conform with password policy: Password not long enough"
        );
        assert_eq!(
            refusal(Wording::NewPassword),
            "Password does not conform to policy: Password not long enough"
        );
    }

    #[test]
    fn a_space_is_a_symbol_only_inside() {
        let policy = default_policy();
        assert!(check(&policy, "Correct 1", Wording::SignUp).is_ok());
        assert!(check(&policy, " Correct1 ", Wording::SignUp).is_err());
    }
}
