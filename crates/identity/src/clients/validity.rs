//! How long a client's tokens live.
//!
//! Source: API reference, `UserPoolClientType` and `TokenValidityUnitsType`.

use conclave_api::ApiError;
use conclave_store::records::ClientRecord;

use crate::errors;

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// Values that are not given. They count in the unit that is given: a unit of seconds without a value
/// means one second, which is out of range.
const ACCESS_DEFAULT: u32 = 1;
const ID_DEFAULT: u32 = 1;
/// Also what 0 means.
pub(super) const REFRESH_DEFAULT: u32 = 30;

/// The lives of a client's tokens, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Of access tokens.
    pub access_s: i64,
    /// Of ID tokens.
    pub id_s: i64,
    /// Of refresh tokens.
    pub refresh_s: i64,
}

/// How long tokens of this client live.
pub fn of(client: &ClientRecord) -> Validity {
    let seconds = |value: Option<u32>, default: u32, unit: &Option<String>, default_unit_s: i64| {
        let unit_s = match unit.as_deref() {
            Some("seconds") => 1,
            Some("minutes") => MINUTE_S,
            Some("hours") => HOUR_S,
            Some("days") => DAY_S,
            _ => default_unit_s,
        };
        i64::from(value.unwrap_or(default)) * unit_s
    };
    Validity {
        access_s: seconds(
            client.access_token_validity,
            ACCESS_DEFAULT,
            &client.access_token_unit,
            HOUR_S,
        ),
        id_s: seconds(client.id_token_validity, ID_DEFAULT, &client.id_token_unit, HOUR_S),
        refresh_s: seconds(
            client.refresh_token_validity,
            REFRESH_DEFAULT,
            &client.refresh_token_unit,
            DAY_S,
        ),
    }
}

/// Checks a new client's lives.
///
/// # Errors
/// InvalidParameterException.
pub(super) fn check(client: &ClientRecord) -> Result<(), ApiError> {
    let Validity { access_s, id_s, refresh_s } = of(client);
    let short = 5 * MINUTE_S..=DAY_S;
    let long = HOUR_S..=3_650 * DAY_S;
    if !short.contains(&access_s) || !short.contains(&id_s) || !long.contains(&refresh_s) {
        return Err(errors::invalid_parameter("Invalid range for token validity."));
    }
    if access_s.max(id_s) > refresh_s {
        return Err(errors::invalid_parameter(
            "Access and Id Token expiration times must be less than or equal to refresh token expiration times.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(access: (u32, &str), id: (u32, &str), refresh: (u32, &str)) -> ClientRecord {
        let unit = |unit: &str| (!unit.is_empty()).then(|| unit.to_owned());
        ClientRecord {
            access_token_validity: Some(access.0),
            access_token_unit: unit(access.1),
            id_token_validity: Some(id.0),
            id_token_unit: unit(id.1),
            refresh_token_validity: Some(refresh.0),
            refresh_token_unit: unit(refresh.1),
            ..Default::default()
        }
    }

    #[test]
    fn tokens_live_an_hour_and_refresh_tokens_thirty_days() {
        let validity = of(&ClientRecord::default());
        assert_eq!(validity, Validity { access_s: 3_600, id_s: 3_600, refresh_s: 2_592_000 });
        assert_eq!(check(&ClientRecord::default()), Ok(()));
    }

    #[test]
    fn every_value_counts_in_its_own_unit() {
        let validity = of(&client((600, "seconds"), (10, "minutes"), (2, "hours")));
        assert_eq!(validity, Validity { access_s: 600, id_s: 600, refresh_s: 7_200 });
        let validity = of(&client((1, "days"), (2, ""), (3, "")));
        assert_eq!(validity, Validity { access_s: 86_400, id_s: 7_200, refresh_s: 259_200 });
    }

    #[test]
    fn lives_have_a_range() {
        let good = (1, "hours");
        let text = |client: ClientRecord| check(&client).map_err(|error| error.message);
        let out_of_range = Err("Invalid range for token validity.".into());
        for access in [(299, "seconds"), (4, "minutes"), (25, "hours"), (2, "days"), (25, "")] {
            assert_eq!(text(client(access, good, (30, ""))), out_of_range, "{access:?}");
            assert_eq!(text(client(good, access, (30, ""))), out_of_range, "{access:?}");
        }
        for refresh in [(59, "minutes"), (3_599, "seconds"), (4_000, ""), (3_651, "days")] {
            assert_eq!(text(client(good, good, refresh)), out_of_range, "{refresh:?}");
        }
        for ok in [
            client((300, "seconds"), (5, "minutes"), (60, "minutes")),
            client((24, "hours"), (1, "days"), (3_650, "days")),
        ] {
            assert_eq!(text(ok), Ok(()));
        }
    }

    #[test]
    fn a_unit_without_a_value_counts_the_default_value() {
        let unit =
            ClientRecord { access_token_unit: Some("minutes".to_owned()), ..Default::default() };
        assert!(check(&unit).is_err());
        let unit =
            ClientRecord { refresh_token_unit: Some("hours".to_owned()), ..Default::default() };
        assert_eq!(of(&unit).refresh_s, 30 * HOUR_S);
    }

    #[test]
    fn no_token_outlives_the_refresh_token() {
        let text = "Access and Id Token expiration times must be less than or equal to refresh token expiration times.";
        for client in [
            client((12, "hours"), (1, "hours"), (2, "hours")),
            client((1, "hours"), (12, "hours"), (2, "hours")),
        ] {
            assert_eq!(check(&client).unwrap_err().message, text);
        }
        assert_eq!(check(&client((2, "hours"), (2, "hours"), (2, "hours"))), Ok(()));
    }
}
