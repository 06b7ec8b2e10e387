//! `ClientSecret`: an app client with a secret sends the secret itself.

use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::mac;

use crate::config::ClientConfig;

/// Checks the secret that was given. Any of the client's will do. `refusal` is the exception by which the
/// operation says that a client has not proved itself.
///
/// # Errors
/// `refusal`, when the client has a secret and there is none or a wrong one, and when the client has none
/// and there is one.
pub fn check(
    client: &ClientConfig,
    given: Option<&str>,
    refusal: ExceptionName,
) -> Result<(), ApiError> {
    let client_id = &client.record.client_id;
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        if client.has_secret() {
            return Err(refusal.because(format!(
                "Client {client_id} is configured for secret but secret was not received"
            )));
        }
        return Ok(());
    };
    // every secret is tried, so that time does not tell which one it was
    let mut matches = false;
    for secret in &client.secrets {
        matches |= mac::ct_eq(secret.expose().as_bytes(), given.as_bytes());
    }
    if matches {
        return Ok(());
    }
    Err(refusal.because(format!("Unable to verify secret for client {client_id}")))
}

#[cfg(test)]
mod tests {
    use conclave_crypto::secret::SecretString;
    use conclave_store::records::ClientRecord;

    use super::*;

    fn client(secrets: &[&str]) -> ClientConfig {
        ClientConfig {
            record: ClientRecord { client_id: "c1".to_owned(), ..Default::default() },
            secrets: secrets.iter().map(|secret| SecretString::from(*secret)).collect(),
        }
    }

    /// The text for a missing secret is reported of Cognito; that for a wrong one is judgement.
    #[test]
    fn a_client_with_a_secret_sends_it_and_another_sends_none() {
        let check = |secrets: &[&str], given| {
            let checked = check(&client(secrets), given, ExceptionName::UnauthorizedException);
            checked.map_err(|error| format!("{}: {}", error.code.as_str(), error.message))
        };
        let missing =
            Err("UnauthorizedException: Client c1 is configured for secret but secret was \
                           not received"
                .to_owned());
        let wrong = Err("UnauthorizedException: Unable to verify secret for client c1".to_owned());
        assert_eq!(check(&[], None), Ok(()));
        assert_eq!(check(&[], Some("")), Ok(()));
        assert_eq!(check(&[], Some("s")), wrong);
        assert_eq!(check(&["s"], None), missing);
        assert_eq!(check(&["s"], Some("")), missing);
        for given in ["t", "S", "ss", "s "] {
            assert_eq!(check(&["s"], Some(given)), wrong);
        }
        for given in ["old", "new"] {
            assert_eq!(check(&["old", "new"], Some(given)), Ok(()));
        }
    }
}
