//! What a row of a file means: a user, or why there is none. Reasons name columns, never values.
//! Source: developer guide, "Formatting the CSV file" and "Importing users with password hashes".

use conclave_api::ApiError;
use conclave_crypto::imported::{Algorithm, Bounds, ImportedError, ImportedHash};
use conclave_store::records::{UserImportJobRecord, UserRecord};

use super::csv;
use crate::{
    auth::{
        factors,
        machine::{Asks, Factor},
    },
    config::PoolConfig,
    users::{
        aliases,
        attributes::{self, VERIFIED_FLAGS, Values},
        lookup::{self, NAME_BYTES_MAX},
        mfa_preference, status, username,
    },
};

/// Characters of a user name, at most. Source: API reference, UsernameType.
const USERNAME_CHARS_MAX: usize = 128;

/// A user that a row describes.
pub(super) struct NewUser {
    /// Without dates.
    pub user: UserRecord,
    /// A hash that has been checked.
    pub password_hash: Option<String>,
}

/// Reads a row. `sub` is the id that the user gets.
///
/// # Errors
/// Why no user comes of it.
pub(super) fn read(
    pool: &PoolConfig,
    job: &UserImportJobRecord,
    line: &str,
    sub: &str,
) -> Result<NewUser, String> {
    if line.chars().count() > csv::ROW_CHARS_MAX {
        return Err("The row has more than 16000 characters.".to_owned());
    }
    let given = csv::values(line);
    if given.len() != job.columns.len() {
        return Err(format!(
            "The row has {} values, and the header {} columns.",
            given.len(),
            job.columns.len()
        ));
    }
    let column = |wanted: &str| {
        let position = job.columns.iter().position(|name| name == wanted)?;
        given.get(position).map(|value| value.trim()).filter(|value| !value.is_empty())
    };
    let name = column(csv::USERNAME)
        .ok_or_else(|| format!("The column {} has no value.", csv::USERNAME))?;
    if name.contains(char::is_whitespace) {
        return Err(format!("The column {} must not contain spaces or tabs.", csv::USERNAME));
    }
    if name.chars().count() > USERNAME_CHARS_MAX {
        return Err(format!("The column {} has more than 128 characters.", csv::USERNAME));
    }
    let wants_sms = asks_for_sms(pool, column(csv::MFA_ENABLED))?;
    let mut values = Values::new();
    for (name, value) in job.columns.iter().zip(&given) {
        let value = value.trim();
        let is_attribute = !matches!(
            name.as_str(),
            csv::USERNAME | csv::MFA_ENABLED | csv::PASSWORD_HASH | csv::ANY_PASSWORD_HASH
        );
        if is_attribute && !value.is_empty() {
            let value = if name == "birthdate" { birthdate(value)? } else { value.to_owned() };
            values.insert(name.clone(), value);
        }
    }
    let username = username::of_new_user(pool, name, sub, &mut values).map_err(text)?;
    attributes::check_schema(&pool.record, &mut values, true).map_err(text)?;
    username::check_preferred(pool, &values).map_err(text)?;
    check_addresses(pool, &mut values)?;
    let password_hash = password_hash(
        job.password_hashing_algorithm.as_deref(),
        column(csv::PASSWORD_HASH),
        column(csv::ANY_PASSWORD_HASH),
    )?;
    let status = if password_hash.is_some() { status::CONFIRMED } else { status::RESET_REQUIRED };
    let mut user = UserRecord {
        sub: sub.to_owned(),
        username,
        status: status.to_owned(),
        enabled: true,
        attributes: attributes::in_described_order(&values),
        ..Default::default()
    };
    if wants_sms {
        if attributes::value(&user, "phone_number").is_none() {
            return Err(format!(
                "The column {} can only be true for a user with a phone_number.",
                csv::MFA_ENABLED
            ));
        }
        mfa_preference::switch_on(&mut user, Factor::Sms);
    }
    let is_long = |alias: aliases::Alias| alias.folded.len() > NAME_BYTES_MAX;
    if aliases::held(pool, &user).into_iter().any(is_long)
        || lookup::folded(pool, &user.username).len() > NAME_BYTES_MAX
    {
        return Err("A name by which the user signs in is too long.".to_owned());
    }
    Ok(NewUser { user, password_hash })
}

fn text(error: ApiError) -> String {
    error.message.into_owned()
}

/// Whether the user is asked for a code by text message, the one factor that a file can switch on.
fn asks_for_sms(pool: &PoolConfig, value: Option<&str>) -> Result<bool, String> {
    let side = factors::of_pool(&pool.record);
    let must_be_off = |because: &str| {
        Err(format!(
            "The column {} must be false or empty, because the user pool {because}.",
            csv::MFA_ENABLED
        ))
    };
    match value.map(str::to_lowercase).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") if side.asks == Asks::Never => must_be_off("has MFA off"),
        Some("true") if !side.offers.sms => must_be_off("sends no text messages"),
        Some("true") => Ok(true),
        Some(_) => Err(format!("The column {} must be true or false.", csv::MFA_ENABLED)),
    }
}

/// Addresses that are said to be verified are there, and one that the pool verifies is among them.
fn check_addresses(pool: &PoolConfig, values: &mut Values) -> Result<(), String> {
    let mut one_is_verified = false;
    for (address, flag) in VERIFIED_FLAGS {
        let is_verified = values.get(flag).is_some_and(|value| value == "true");
        let has_address = values.contains_key(address);
        if is_verified && !has_address {
            return Err(format!("The column {address} has no value, and {flag} is true."));
        }
        if has_address && !values.contains_key(flag) {
            values.insert(flag.to_owned(), "false".to_owned());
        }
        one_is_verified |= is_verified
            && pool.record.auto_verified_attributes.iter().any(|verified| verified == address);
    }
    if one_is_verified {
        return Ok(());
    }
    // the text is Cognito's
    Err("The User Record does not set any of the auto verified attributes to true. (Example: \
         email_verified to true)."
        .to_owned())
}

/// `02/01/1985` as it is stored: `1985-02-01` (OpenID Connect Core 1.0, section 5.1).
fn birthdate(value: &str) -> Result<String, String> {
    let parse = || {
        let mut parts = value.split('/');
        let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
        let sizes = month.len() == 2 && day.len() == 2 && year.len() == 4;
        if !sizes || parts.next().is_some() {
            return None;
        }
        let month = time::Month::try_from(month.parse::<u8>().ok()?).ok()?;
        time::Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
    };
    let date = parse()
        .ok_or_else(|| "The column birthdate is not a date of the form mm/dd/yyyy.".to_owned())?;
    Ok(format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()))
}

/// The hash that a row brings along, when it can be used.
fn password_hash(
    algorithm: Option<&str>,
    by_algorithm: Option<&str>,
    any: Option<&str>,
) -> Result<Option<String>, String> {
    let (column, encoded) = match (by_algorithm, any) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(format!(
                "Both {} and {} have a value.",
                csv::PASSWORD_HASH,
                csv::ANY_PASSWORD_HASH
            ));
        }
        (Some(encoded), None) => (csv::PASSWORD_HASH, encoded),
        (None, Some(encoded)) => (csv::ANY_PASSWORD_HASH, encoded),
    };
    let refused = |error: ImportedError| match error {
        ImportedError::Malformed => format!("The column {column} has a malformed hash."),
        ImportedError::OutOfBounds => {
            format!("The column {column} has a hash with a parameter that is out of bounds.")
        }
    };
    let hash = ImportedHash::parse(encoded).map_err(refused)?;
    if column == csv::ANY_PASSWORD_HASH {
        hash.check(&Bounds::WIDE).map_err(refused)?;
        return Ok(Some(encoded.to_owned()));
    }
    let Some(algorithm) = algorithm else {
        return Err("The user import job has no PasswordHashingAlgorithm.".to_owned());
    };
    let is_it = match hash.algorithm() {
        Algorithm::Bcrypt => algorithm == "BCRYPT",
        Algorithm::Scrypt => algorithm == "SCRYPT",
        Algorithm::Argon2id => algorithm == "ARGON2ID",
        Algorithm::Pbkdf2Sha256 => algorithm == "PBKDF2_SHA256",
        _ => false,
    };
    if !is_it {
        return Err(format!("The column {column} has a hash by another algorithm than the job's."));
    }
    hash.check(&Bounds::COGNITO).map_err(refused)?;
    Ok(Some(encoded.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn birthdates_are_stored_as_openid_connect_writes_them() {
        assert_eq!(birthdate("02/01/1985").as_deref(), Ok("1985-02-01"));
        assert_eq!(birthdate("02/29/2024").as_deref(), Ok("2024-02-29"));
        for wrong in
            ["02/29/2023", "13/01/1985", "1985-02-01", "2/1/1985", "02/01/85", "02/01/1985/"]
        {
            assert!(birthdate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hashes_are_of_the_job_s_algorithm_or_in_the_column_for_all() {
        let bcrypt = "$2b$10$CtA.Rcu/szzn9U00wpUjOuN3vrgJRZycv4aOzcP3GzqzO8UDPEFq6";
        let sha512 = "$pbkdf2-sha512$1000$MDEyMzQ1Njc4OWFiY2RlZg$ykxYClkWSalguKof7L7fnNOv4VoCwCjPG843Qq79lFX6CfKAcasjeCsYkuCXoPbZI0AuRvDDwoT/0jHyLFmUCQ";
        let costly = "$2b$13$CtA.Rcu/szzn9U00wpUjOuN3vrgJRZycv4aOzcP3GzqzO8UDPEFq6";
        let kept = |hash: &str| Ok(Some(hash.to_owned()));
        let refused = |text: &str| Err(text.to_owned());
        for (algorithm, ours, any, expected) in [
            (None, None, None, Ok(None)),
            (Some("BCRYPT"), None, None, Ok(None)),
            (Some("BCRYPT"), Some(bcrypt), None, kept(bcrypt)),
            (None, None, Some(bcrypt), kept(bcrypt)),
            (Some("SCRYPT"), None, Some(bcrypt), kept(bcrypt)),
            (None, None, Some(sha512), kept(sha512)),
            (None, None, Some(costly), kept(costly)),
            (
                Some("BCRYPT"),
                Some(costly),
                None,
                refused(
                    "The column password_hash has a hash with a parameter that is out of bounds.",
                ),
            ),
            (
                Some("SCRYPT"),
                Some(bcrypt),
                None,
                refused("The column password_hash has a hash by another algorithm than the job's."),
            ),
            (
                Some("PBKDF2_SHA256"),
                Some(sha512),
                None,
                refused("The column password_hash has a hash by another algorithm than the job's."),
            ),
            (
                None,
                Some(bcrypt),
                None,
                refused("The user import job has no PasswordHashingAlgorithm."),
            ),
            (
                None,
                None,
                Some("secret"),
                refused("The column conclave:password_hash has a malformed hash."),
            ),
            (
                Some("BCRYPT"),
                Some(bcrypt),
                Some(bcrypt),
                refused("Both password_hash and conclave:password_hash have a value."),
            ),
        ] {
            assert_eq!(password_hash(algorithm, ours, any), expected);
        }
    }
}
