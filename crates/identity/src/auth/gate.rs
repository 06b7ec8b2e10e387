//! The one gate in front of every token. Whatever path a user has come by, what signs tokens asks for a
//! [`Permit`], and nobody but [`may_issue_tokens`] makes one: a rule that is added here holds for all of
//! them, also for those that are still to come.

use conclave_api::{ApiError, ExceptionName};
use conclave_store::records::{SessionRecord, UserRecord};

use crate::{
    config::ClientConfig,
    errors,
    users::status::{self, CONFIRMED, RESET_REQUIRED, UNCONFIRMED},
};

/// That tokens may be issued to one user, by the rows that were looked at. It is used up by issuing them.
#[must_use]
pub struct Permit(());

/// Why there are to be tokens.
#[derive(Clone, Copy)]
pub enum Occasion<'a> {
    /// The user has shown all that a sign-in asks for.
    SignIn,
    /// A refresh token of this session was presented.
    Renewal(&'a SessionRecord),
}

/// Whether this user gets tokens of this client at `now_ms`. The commit, or the read where nothing is
/// written, has to rely on the rows that were given.
///
/// # Errors
/// NotAuthorizedException, UserNotConfirmedException, PasswordResetRequiredException.
pub fn may_issue_tokens(
    client: &ClientConfig,
    user: &UserRecord,
    occasion: Occasion<'_>,
    now_ms: i64,
) -> Result<Permit, ApiError> {
    status::check_enabled(user.enabled)?;
    match occasion {
        Occasion::SignIn => check_signs_in(&user.status)?,
        Occasion::Renewal(session) => {
            check_is_known(&user.status)?;
            status::check_acts(&user.status)?;
            check_session(client, user, session, now_ms)?;
        }
    }
    Ok(Permit(()))
}

/// A sign-in is over when nothing is left to be done: no temporary password, no reset.
fn check_signs_in(status: &str) -> Result<(), ApiError> {
    match status {
        CONFIRMED => Ok(()),
        UNCONFIRMED => {
            Err(ExceptionName::UserNotConfirmedException.because("User is not confirmed."))
        }
        RESET_REQUIRED => Err(status::password_reset_required()),
        _ => Err(errors::incorrect_username_or_password()),
    }
}

/// A status of a later version says that something is the matter that this one does not know.
fn check_is_known(status: &str) -> Result<(), ApiError> {
    match status {
        CONFIRMED | UNCONFIRMED | RESET_REQUIRED | status::FORCE_CHANGE_PASSWORD => Ok(()),
        _ => Err(errors::incorrect_username_or_password()),
    }
}

fn check_session(
    client: &ClientConfig,
    user: &UserRecord,
    session: &SessionRecord,
    now_ms: i64,
) -> Result<(), ApiError> {
    if session.client_id != client.record.client_id {
        return Err(different_client());
    }
    if session.created_ms < user.sessions_valid_from_ms {
        return Err(ApiError::not_authorized("Refresh Token has been revoked"));
    }
    if now_ms >= session.expires_ms {
        return Err(ApiError::not_authorized("Refresh Token has expired"));
    }
    Ok(())
}

/// `Refresh Token has different Client`
pub fn different_client() -> ApiError {
    ApiError::not_authorized("Refresh Token has different Client")
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use conclave_store::records::ClientRecord;

    use super::*;

    /// The files in which a path to tokens ends. Whoever adds one shows in `auth/tests` who is refused
    /// there, and then names it here.
    const PATHS: [&str; 4] =
        ["auth/choice.rs", "auth/device_auth.rs", "auth/passkey.rs", "auth/refresh.rs"];

    fn source() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
    }

    fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rust_files(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }

    /// The files of this crate, without those of tests, in which one of `words` stands.
    fn files_that_say(words: &[&str]) -> BTreeSet<String> {
        let mut files = Vec::new();
        rust_files(&source(), &mut files);
        let name = |path: &PathBuf| {
            let name = path.strip_prefix(source()).unwrap().to_string_lossy().replace('\\', "/");
            let of_tests = name.contains("/tests/") || name.ends_with("testing.rs");
            (!of_tests).then_some(name)
        };
        let says = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
            words.iter().any(|word| code.contains(word))
        };
        files.iter().filter(|path| says(path)).filter_map(name).collect()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_path_to_tokens_is_on_the_list() {
        assert_eq!(files_that_say(&["begin_session(", "begin_session_on(", "tokens::renew("]), {
            let mut files = set(&PATHS);
            files.insert("auth/tokens.rs".to_owned());
            files
        });
    }

    #[test]
    fn nobody_issues_tokens_past_the_gate() {
        // what signs, what is signed, and what it takes
        assert_eq!(files_that_say(&["active_key("]), set(&["auth/tokens.rs", "config.rs"]));
        assert_eq!(files_that_say(&["UnsignedTokens {"]), set(&["auth/tokens.rs"]));
        assert_eq!(files_that_say(&["Permit("]), set(&["auth/gate.rs"]));
        assert_eq!(files_that_say(&["gate::may_issue_tokens("]), set(&["auth/tokens.rs"]));
        assert_eq!(files_that_say(&["RefreshToken::new("]), set(&["auth/tokens.rs"]));
    }

    fn client() -> ClientConfig {
        let record = ClientRecord { client_id: "c1".to_owned(), ..Default::default() };
        ClientConfig { record, secrets: Vec::new() }
    }

    fn user(status: &str) -> UserRecord {
        UserRecord { enabled: true, status: status.to_owned(), ..Default::default() }
    }

    fn session() -> SessionRecord {
        SessionRecord {
            client_id: "c1".to_owned(),
            created_ms: 1_000,
            expires_ms: 2_000,
            ..Default::default()
        }
    }

    fn refused(user: &UserRecord, occasion: Occasion<'_>) -> Option<String> {
        let error = may_issue_tokens(&client(), user, occasion, 1_500).err()?;
        Some(format!("{}: {}", error.code.as_str(), error.message))
    }

    #[test]
    fn who_gets_tokens_in_each_state() {
        let incorrect = Some("NotAuthorizedException: Incorrect username or password.");
        let unconfirmed = Some("UserNotConfirmedException: User is not confirmed.");
        let reset = Some("PasswordResetRequiredException: Password reset required for the user");
        let disabled = Some("NotAuthorizedException: User is disabled.");
        let (session, table) = (
            session(),
            [
                ("CONFIRMED", None, None),
                ("UNCONFIRMED", unconfirmed, unconfirmed),
                ("FORCE_CHANGE_PASSWORD", incorrect, None),
                ("RESET_REQUIRED", reset, reset),
                ("COMPROMISED", incorrect, incorrect),
                ("", incorrect, incorrect),
            ],
        );
        for (status, signing_in, renewing) in table {
            let mut user = user(status);
            assert_eq!(refused(&user, Occasion::SignIn).as_deref(), signing_in, "{status}");
            let renewal = Occasion::Renewal(&session);
            assert_eq!(refused(&user, renewal).as_deref(), renewing, "{status}");
            user.enabled = false;
            assert_eq!(refused(&user, Occasion::SignIn).as_deref(), disabled, "{status}");
            assert_eq!(refused(&user, renewal).as_deref(), disabled, "{status}");
        }
    }

    #[test]
    fn a_session_is_good_for_its_client_and_in_its_time() {
        let user = user("CONFIRMED");
        let other = SessionRecord { client_id: "c2".to_owned(), ..session() };
        let over = SessionRecord { expires_ms: 1_500, ..session() };
        let signed_out = UserRecord { sessions_valid_from_ms: 1_001, ..user.clone() };
        let session = session();
        for (user, session, text) in [
            (&user, &other, "Refresh Token has different Client"),
            (&user, &over, "Refresh Token has expired"),
            (&signed_out, &session, "Refresh Token has been revoked"),
        ] {
            let refused = refused(user, Occasion::Renewal(session)).unwrap();
            assert_eq!(refused, format!("NotAuthorizedException: {text}"));
        }
        let just = UserRecord { sessions_valid_from_ms: 1_000, ..user };
        assert_eq!(refused(&just, Occasion::Renewal(&session)), None);
    }
}
