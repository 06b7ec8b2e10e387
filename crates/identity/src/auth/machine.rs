//! The challenge machine: which step of a sign-in follows which, as plain functions over what the pool, the
//! client and the user have set up. Nothing here reads, writes or knows the time; `testdata/sign_in.txt` is
//! printed from it, one line for each case.
//!
//! | proved | the user is | the pool asks | the user has | next |
//! |---|---|---|---|---|
//! | password | RESET_REQUIRED | | | PasswordResetRequiredException |
//! | password | FORCE_CHANGE_PASSWORD | | | NEW_PASSWORD_REQUIRED, then as below |
//! | password | CONFIRMED | OFF | | tokens |
//! | password | CONFIRMED | OPTIONAL | nothing switched on | tokens |
//! | password | CONFIRMED | OPTIONAL, ON | one factor, or a preferred one | its challenge |
//! | password | CONFIRMED | OPTIONAL, ON | several, none preferred | SELECT_MFA_TYPE |
//! | password | CONFIRMED | ON | nothing | MFA_SETUP |
//! | password | CONFIRMED | OPTIONAL, ON | one switched on that cannot be asked for | refused |
//! | code by message | CONFIRMED | OFF, OPTIONAL | nothing switched on | tokens |
//! | passkey | CONFIRMED | OFF, OPTIONAL | nothing switched on | tokens |
//! | passkey, user verified | CONFIRMED | | passkeys switched on as two factors, in a pool that lets them | tokens |
//! | second factor | CONFIRMED | | | tokens |
//! | custom challenges | RESET_REQUIRED | | | PasswordResetRequiredException |
//! | custom challenges | FORCE_CHANGE_PASSWORD | | | refused |
//! | custom challenges | CONFIRMED | | | as after a password |
//! | password in CUSTOM_AUTH | | | | custom challenges, after NEW_PASSWORD_REQUIRED |
//!
//! Sources: developer guide, "Adding MFA to a user pool" and "Authentication flows"; API reference,
//! SetUserPoolMfaConfig, SetUserMFAPreference (what is not offered any more still counts for who has it).

use crate::users::status;

/// A second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Factor {
    /// A code in a text message.
    Sms,
    /// A code of an authenticator app.
    SoftwareToken,
    /// A code in an e-mail.
    Email,
}

impl Factor {
    /// In the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Sms, Self::SoftwareToken, Self::Email];

    /// The challenge that asks for it, by which it is also called in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sms => "SMS_MFA",
            Self::SoftwareToken => "SOFTWARE_TOKEN_MFA",
            Self::Email => "EMAIL_OTP",
        }
    }

    /// The factor of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|factor| factor.as_str() == name)
    }
}

/// Whether a pool asks for second factors: MfaConfiguration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asks {
    /// OFF
    #[default]
    Never,
    /// OPTIONAL: those who have switched one on.
    WhoHasOne,
    /// ON
    Everybody,
}

impl Asks {
    /// As MfaConfiguration says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "OFF",
            Self::WhoHasOne => "OPTIONAL",
            Self::Everybody => "ON",
        }
    }
}

/// Some second factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Factors {
    /// [`Factor::Sms`]
    pub sms: bool,
    /// [`Factor::SoftwareToken`]
    pub software_token: bool,
    /// [`Factor::Email`]
    pub email: bool,
}

impl Factors {
    /// Whether this is one of them.
    pub const fn has(self, factor: Factor) -> bool {
        match factor {
            Factor::Sms => self.sms,
            Factor::SoftwareToken => self.software_token,
            Factor::Email => self.email,
        }
    }

    /// In the order in which they are listed.
    pub fn list(self) -> Vec<Factor> {
        Factor::ALL.into_iter().filter(|factor| self.has(*factor)).collect()
    }
}

/// What a pool has set up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolSide {
    /// MfaConfiguration
    pub asks: Asks,
    /// What its users can set up.
    pub offers: Factors,
    /// AllowedFirstAuthFactors; a password always is.
    pub email_otp: bool,
    /// As [`Self::email_otp`].
    pub sms_otp: bool,
    /// As [`Self::email_otp`].
    pub web_authn: bool,
    /// FactorConfiguration: a passkey can be two factors, if the authenticator verifies the user.
    pub passkeys_are_two_factors: bool,
    /// UserVerification: the authenticator must verify every user.
    pub verifies_passkey_users: bool,
}

/// What a user has set up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserSide {
    /// Switched on by preference.
    pub on: Factors,
    /// What there is to ask for: an address, a verified authenticator app.
    pub has: Factors,
    /// The factor that is asked for before all others.
    pub preferred: Option<Factor>,
    /// Whether the address is verified, so that a code alone signs in.
    pub verified_email: bool,
    /// As [`Self::verified_email`].
    pub verified_phone: bool,
    /// Whether there is a passkey.
    pub passkeys: bool,
    /// WebAuthnMfaSettings: the user takes a passkey for two factors.
    pub passkeys_are_two_factors: bool,
}

/// What a proved password comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterPassword {
    /// PasswordResetRequiredException
    ResetRequired,
    /// NEW_PASSWORD_REQUIRED, and then the second factor.
    NewPassword,
    /// What [`second_factor`] says.
    SecondFactor,
}

/// What follows a password that has been proved, for a user in a state in which somebody may sign in at all.
pub fn after_password(status: &str) -> AfterPassword {
    match status {
        status::RESET_REQUIRED => AfterPassword::ResetRequired,
        status::FORCE_CHANGE_PASSWORD => AfterPassword::NewPassword,
        _ => AfterPassword::SecondFactor,
    }
}

/// What follows when functions have decided that a user is to have tokens. A temporary password is nothing
/// that a custom challenge replaces, so [`AfterPassword::NewPassword`] is a refusal here: who began with the
/// password has set a new one by then.
pub fn after_custom_challenges(status: &str) -> AfterPassword {
    after_password(status)
}

/// What is asked for after the first factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Second {
    /// Nothing: tokens.
    Nothing,
    /// One factor.
    One(Factor),
    /// SELECT_MFA_TYPE
    Select(Vec<Factor>),
    /// MFA_SETUP, with what can be set up.
    Setup(Vec<Factor>),
    /// There is nothing to ask for although the user has switched factors on: the address is gone.
    Unusable,
}

/// Which second factor follows a password.
pub fn second_factor(pool: &PoolSide, user: &UserSide) -> Second {
    let counts = |factor: Factor| {
        let asked = match pool.asks {
            Asks::Never => false,
            Asks::WhoHasOne => user.on.has(factor),
            // whoever has the address or the app can be asked, whatever the preference says
            Asks::Everybody => user.on.has(factor) || pool.offers.has(factor),
        };
        asked && user.has.has(factor)
    };
    // an app stays good where no new ones can be set up
    let app_stays = |factor| {
        factor == Factor::SoftwareToken
            && pool.asks == Asks::Everybody
            && user.has.has(Factor::SoftwareToken)
    };
    let usable: Vec<_> = Factor::ALL.into_iter().filter(|f| counts(*f) || app_stays(*f)).collect();
    if let Some(preferred) = user.preferred.filter(|preferred| usable.contains(preferred)) {
        return Second::One(preferred);
    }
    match (usable.as_slice(), pool.asks) {
        ([], Asks::Never) => Second::Nothing,
        ([], _) if user.on != Factors::default() => Second::Unusable,
        ([], Asks::WhoHasOne) => Second::Nothing,
        ([], Asks::Everybody) => Second::Setup(pool.offers.list()),
        ([one], _) => Second::One(*one),
        _ => Second::Select(usable),
    }
}

/// Which second factor follows a password where the sign-in looks risky: one that the pool offers and the user has, switched on or
/// not. Nobody sets one up there where one is required, because who has the password alone may be somebody else.
/// Source: API reference, `AccountTakeoverActionType`.
///
/// Where one is required, an address that is neither switched on nor verified does not count: whoever sets a first password names
/// addresses as well.
pub fn second_factor_at_risk(pool: &PoolSide, user: &UserSide, is_required: bool) -> Second {
    let mut known = user.clone();
    if is_required {
        known.has.sms &= user.on.sms || user.verified_phone;
        known.has.email &= user.on.email || user.verified_email;
    }
    let usual = second_factor(pool, user);
    let asked = match (&usual, pool.asks) {
        (Second::Nothing, Asks::WhoHasOne) => {
            second_factor(&PoolSide { asks: Asks::Everybody, ..pool.clone() }, &known)
        }
        _ => second_factor(pool, &known),
    };
    match asked {
        Second::Nothing | Second::Setup(_) if is_required => Second::Unusable,
        Second::Setup(_) if usual == Second::Nothing => Second::Nothing,
        asked => asked,
    }
}

/// How a choice-based sign-in can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The password itself.
    Password,
    /// SRP.
    PasswordSrp,
    /// A code by e-mail.
    EmailOtp,
    /// A code by text message.
    SmsOtp,
    /// A passkey.
    WebAuthn,
}

impl First {
    /// In the order in which they are listed.
    pub const ALL: [Self; 5] =
        [Self::Password, Self::PasswordSrp, Self::EmailOtp, Self::SmsOtp, Self::WebAuthn];

    /// The challenge.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "PASSWORD",
            Self::PasswordSrp => "PASSWORD_SRP",
            Self::EmailOtp => "EMAIL_OTP",
            Self::SmsOtp => "SMS_OTP",
            Self::WebAuthn => "WEB_AUTHN",
        }
    }

    /// The first factor of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|first| first.as_str() == name)
    }
}

/// What a pool offers for a start, to whoever there is or is not.
pub fn pool_offers(pool: &PoolSide) -> Vec<First> {
    let mut offered = vec![First::Password, First::PasswordSrp];
    // a code is one factor, and nothing is asked after it
    let codes = pool.asks != Asks::Everybody;
    if codes && pool.email_otp {
        offered.push(First::EmailOtp);
    }
    if codes && pool.sms_otp {
        offered.push(First::SmsOtp);
    }
    if pool.web_authn && (pool.asks != Asks::Everybody || pool.passkeys_are_two_factors) {
        offered.push(First::WebAuthn);
    }
    offered
}

/// Whether a passkey of this user stands for both factors.
/// Source: API reference, `WebAuthnConfigurationType` and `WebAuthnMfaSettingsType`.
pub fn passkey_is_two_factors(pool: &PoolSide, user: &UserSide) -> bool {
    pool.passkeys_are_two_factors && user.passkeys_are_two_factors
}

/// Whether the authenticator must verify this user who signs in with a passkey.
pub fn verifies_passkey_user(pool: &PoolSide, user: &UserSide) -> bool {
    pool.verifies_passkey_users
        || passkey_is_two_factors(pool, user)
        || second_factor(pool, user) != Second::Nothing
}

/// Whether this factor alone signs this user in. Whoever has a second factor has chosen to have two, and a code by
/// message is one.
pub fn is_open(pool: &PoolSide, user: &UserSide, is_confirmed: bool, first: First) -> bool {
    if !pool_offers(pool).contains(&first) {
        return false;
    }
    let alone = is_confirmed && second_factor(pool, user) == Second::Nothing;
    match first {
        First::Password | First::PasswordSrp => true,
        First::EmailOtp => alone && user.verified_email,
        First::SmsOtp => alone && user.verified_phone,
        First::WebAuthn => {
            is_confirmed && user.passkeys && (alone || passkey_is_two_factors(pool, user))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMS: Factors = Factors { sms: true, software_token: false, email: false };
    const APP: Factors = Factors { sms: false, software_token: true, email: false };
    const BOTH: Factors = Factors { sms: true, software_token: true, email: false };

    fn pool(asks: Asks, offers: Factors) -> PoolSide {
        PoolSide { asks, offers, email_otp: true, ..Default::default() }
    }

    #[test]
    fn who_has_switched_a_factor_on_is_asked_wherever_the_pool_asks_at_all() {
        for on in [SMS, APP, BOTH] {
            let user = UserSide { on, has: on, ..Default::default() };
            for offers in [Factors::default(), SMS, APP, BOTH] {
                for asks in [Asks::WhoHasOne, Asks::Everybody] {
                    let second = second_factor(&pool(asks, offers), &user);
                    assert!(matches!(second, Second::One(_) | Second::Select(_)), "{second:?}");
                }
                assert_eq!(second_factor(&pool(Asks::Never, offers), &user), Second::Nothing);
            }
        }
    }

    #[test]
    fn where_everybody_is_asked_nobody_gets_away_without() {
        let all = [Factors::default(), SMS, APP, BOTH];
        for offers in all {
            for on in all {
                for has in all {
                    let user = UserSide { on, has, ..Default::default() };
                    let second = second_factor(&pool(Asks::Everybody, offers), &user);
                    assert_ne!(second, Second::Nothing);
                    // a password alone sets nothing up for who has chosen a factor before
                    let sets_up = matches!(second, Second::Setup(_));
                    assert!(!sets_up || on == Factors::default(), "{second:?}");
                }
            }
        }
    }

    #[test]
    fn a_preferred_factor_is_asked_for_only_when_it_can_be() {
        let user = UserSide {
            on: BOTH,
            has: BOTH,
            preferred: Some(Factor::SoftwareToken),
            ..Default::default()
        };
        let optional = pool(Asks::WhoHasOne, BOTH);
        assert_eq!(second_factor(&optional, &user), Second::One(Factor::SoftwareToken));
        let lost = UserSide { has: SMS, ..user.clone() };
        assert_eq!(second_factor(&optional, &lost), Second::One(Factor::Sms));
        let gone = UserSide { has: Factors::default(), ..user };
        assert_eq!(second_factor(&optional, &gone), Second::Unusable);
    }

    #[test]
    fn a_code_alone_signs_in_only_those_who_have_no_second_factor() {
        let user = UserSide { verified_email: true, ..Default::default() };
        for asks in [Asks::Never, Asks::WhoHasOne] {
            assert!(is_open(&pool(asks, APP), &user, true, First::EmailOtp));
            assert!(!is_open(&pool(asks, APP), &user, false, First::EmailOtp));
            assert!(!is_open(&pool(asks, APP), &user, true, First::SmsOtp));
        }
        assert!(!is_open(&pool(Asks::Everybody, APP), &user, true, First::EmailOtp));
        let careful = UserSide { on: APP, has: APP, ..user };
        assert!(!is_open(&pool(Asks::WhoHasOne, APP), &careful, true, First::EmailOtp));
        assert!(is_open(&pool(Asks::WhoHasOne, APP), &careful, true, First::Password));
    }

    #[test]
    fn a_passkey_stands_for_two_factors_only_where_pool_and_user_say_so() {
        let open = |pool: &PoolSide, user: &UserSide| is_open(pool, user, true, First::WebAuthn);
        for asks in [Asks::Never, Asks::WhoHasOne, Asks::Everybody] {
            for (pool_says, user_says) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let pool = PoolSide {
                    web_authn: true,
                    passkeys_are_two_factors: pool_says,
                    ..pool(asks, APP)
                };
                let user = UserSide {
                    passkeys: true,
                    passkeys_are_two_factors: user_says,
                    ..Default::default()
                };
                let both = pool_says && user_says;
                let careful = UserSide { on: APP, has: APP, ..user.clone() };
                assert_eq!(open(&pool, &careful), both || asks == Asks::Never);
                assert_eq!(open(&pool, &user), both || asks != Asks::Everybody);
                // and never without the user's being verified
                let is_asked = second_factor(&pool, &careful) != Second::Nothing;
                assert!(!is_asked || verifies_passkey_user(&pool, &careful));
                assert!(!both || verifies_passkey_user(&pool, &user));
                assert!(!open(&pool, &UserSide { passkeys: false, ..user.clone() }));
                assert!(!is_open(&pool, &user, false, First::WebAuthn));
                let elsewhere = PoolSide { web_authn: false, ..pool };
                assert!(!open(&elsewhere, &user));
            }
        }
    }

    #[test]
    fn a_risk_asks_for_what_the_user_could_show() {
        let nobody = UserSide::default();
        let reachable = UserSide { has: SMS, verified_phone: true, ..UserSide::default() };
        // as whoever sets a first password names it
        let named = UserSide { has: SMS, ..UserSide::default() };
        let optional = pool(Asks::WhoHasOne, BOTH);
        assert_eq!(second_factor(&optional, &reachable), Second::Nothing);
        for is_required in [false, true] {
            let at_risk = |pool: &PoolSide, user| second_factor_at_risk(pool, user, is_required);
            assert_eq!(at_risk(&optional, &reachable), Second::One(Factor::Sms));
            let without = if is_required { Second::Unusable } else { Second::Nothing };
            assert_eq!(at_risk(&optional, &nobody), without);
            let usual = if is_required { Second::Unusable } else { Second::One(Factor::Sms) };
            assert_eq!(at_risk(&optional, &named), usual);
            let switched_on = UserSide { on: SMS, ..named.clone() };
            assert_eq!(at_risk(&optional, &switched_on), Second::One(Factor::Sms));
            // what the pool does not ask for at all cannot be asked for
            assert_eq!(at_risk(&pool(Asks::Never, BOTH), &reachable), without);
            // and who would set one up is not let do that where one is required
            let everybody = pool(Asks::Everybody, BOTH);
            assert_eq!(at_risk(&everybody, &reachable), Second::One(Factor::Sms));
            let setup = if is_required {
                Second::Unusable
            } else {
                Second::Setup(vec![Factor::Sms, Factor::SoftwareToken])
            };
            assert_eq!(at_risk(&everybody, &nobody), setup);
            assert_eq!(at_risk(&everybody, &named), usual);
        }
    }
}
