//! `SECRET_HASH`: an app client with a secret proves it for one user name.
//! Source: developer guide, "Computing secret hash values".

use conclave_api::ApiError;
use conclave_crypto::mac;

use crate::config::ClientConfig;

/// Checks the hash that was given for `username`, the name as the request has it (an answer to a
/// challenge: the user name of the challenge). Any of the client's secrets will do.
///
/// # Errors
/// NotAuthorizedException when the client has a secret and there is no hash or a wrong one, and when
/// the client has none and there is one.
pub fn check(client: &ClientConfig, username: &str, given: Option<&str>) -> Result<(), ApiError> {
    let client_id = &client.record.client_id;
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return if client.has_secret() { Err(missing(client_id)) } else { Ok(()) };
    };
    // every secret is tried, so that time does not tell which one it was
    let mut matches = false;
    for secret in &client.secrets {
        matches |= mac::verify_secret_hash(secret.expose(), username, client_id, given);
    }
    if matches { Ok(()) } else { Err(wrong(client_id)) }
}

/// Checks only that a client with a secret sends a hash: where the user is not known yet.
///
/// # Errors
/// NotAuthorizedException.
pub fn check_presence(client: &ClientConfig, given: Option<&str>) -> Result<(), ApiError> {
    if client.has_secret() && given.is_none_or(str::is_empty) {
        return Err(missing(&client.record.client_id));
    }
    Ok(())
}

fn missing(client_id: &str) -> ApiError {
    ApiError::not_authorized(format!(
        "Client {client_id} is configured with secret but SECRET_HASH was not received"
    ))
}

fn wrong(client_id: &str) -> ApiError {
    ApiError::not_authorized(format!("Unable to verify secret hash for client {client_id}"))
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

    fn refusal(client: &ClientConfig, username: &str, given: Option<&str>) -> String {
        let error = check(client, username, given).unwrap_err();
        assert_eq!(error.code.as_str(), "NotAuthorizedException");
        error.message.into_owned()
    }

    #[test]
    fn a_client_without_a_secret_sends_no_hash() {
        assert_eq!(check(&client(&[]), "ada", None), Ok(()));
        assert_eq!(check(&client(&[]), "ada", Some("")), Ok(()));
        assert_eq!(
            refusal(&client(&[]), "ada", Some("anything")),
            "Unable to verify secret hash for client c1"
        );
    }

    #[test]
    fn a_client_with_a_secret_has_to_prove_it() {
        assert_eq!(
            refusal(&client(&["s"]), "ada", None),
            "Client c1 is configured with secret but SECRET_HASH was not received"
        );
        let hash = mac::secret_hash("s", "ada", "c1");
        assert_eq!(check(&client(&["s"]), "ada", Some(&hash)), Ok(()));
        for (name, given) in
            [("grace", hash.as_str()), ("Ada", &hash), ("ada", "é"), ("ada", "AA==")]
        {
            assert_eq!(
                refusal(&client(&["s"]), name, Some(given)),
                "Unable to verify secret hash for client c1"
            );
        }
    }

    #[test]
    fn each_of_two_secrets_is_accepted() {
        for secret in ["old", "new"] {
            let hash = mac::secret_hash(secret, "ada", "c1");
            assert_eq!(check(&client(&["old", "new"]), "ada", Some(&hash)), Ok(()));
        }
    }
}
