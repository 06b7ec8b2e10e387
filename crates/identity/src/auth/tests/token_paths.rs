//! Every path on which tokens are issued, with users and sessions that get none: `security.md` S34. The
//! list of paths is held by a test in `auth/gate.rs`.

use super::*;

/// The paths by which somebody who was signed in, or was about to be, comes to tokens.
const PATHS: [&str; 5] =
    ["password", "SRP", "new password", "refresh", "GetTokensFromRefreshToken"];

/// What happens to a user.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Nothing,
    Disabled,
    Unconfirmed,
    ResetRequired,
    Compromised,
    Deleted,
    SignedOut,
}

const EVENTS: [Event; 7] = [
    Event::Nothing,
    Event::Disabled,
    Event::Unconfirmed,
    Event::ResetRequired,
    Event::Compromised,
    Event::Deleted,
    Event::SignedOut,
];

/// Whether tokens are to be had on a path after an event: a sign-out everywhere ends what has begun, also a
/// sign-in whose password has been shown; whoever shows it afterwards is in.
fn may(path: &str, event: Event) -> bool {
    let shows_password = matches!(path, "password" | "SRP");
    event == Event::Nothing || (event == Event::SignedOut && shows_password)
}

#[tokio::test]
async fn s34_no_path_leads_past_the_state_of_the_user() {
    for event in EVENTS {
        for path in PATHS {
            let pool = Fixture::new().await;
            let sub = match path {
                "new password" => pool.temporary_user("ada", &[]).await,
                _ => pool.user("ada", &[]).await,
            };
            let outcome = on(&pool, path, &sub, event).await;
            assert_eq!(outcome.is_ok(), may(path, event), "{path}, {event:?}: {outcome:?}");
        }
    }
}

/// Goes a path up to its last request, lets something happen, and answers what that request answers.
async fn on(
    pool: &Fixture,
    path: &str,
    sub: &str,
    event: Event,
) -> Result<types::AuthenticationResultType, String> {
    let client = &pool.client_id;
    let answered = |tokens: Option<types::AuthenticationResultType>| {
        tokens.ok_or_else(|| "a challenge".to_owned())
    };
    match path {
        "password" => {
            happen(pool, sub, event).await;
            let response = pool.sign_in(client, "ada", PASSWORD).await.map_err(text)?;
            answered(response.authentication_result)
        }
        "SRP" => {
            let challenge = pool.start_srp(client, "ada", &[]).await.map_err(text)?;
            happen(pool, sub, event).await;
            let claim = pool.claim(&challenge, PASSWORD);
            let response = pool.answer_srp(client, claim).await.map_err(text)?;
            answered(response.authentication_result)
        }
        "new password" => {
            let session = pool.new_password_session(client, "ada").await;
            happen(pool, sub, event).await;
            let responses = [("USERNAME", "ada"), ("NEW_PASSWORD", NEW)];
            let response = pool.answer_new_password(&session, &responses).await.map_err(text)?;
            answered(response.authentication_result)
        }
        "refresh" => {
            let tokens = pool.tokens("ada").await;
            happen(pool, sub, event).await;
            pool.refresh(client, refresh_token(&tokens)).await.map_err(text)
        }
        _ => {
            let tokens = pool.tokens("ada").await;
            happen(pool, sub, event).await;
            pool.get_tokens(client, refresh_token(&tokens)).await.map_err(text)
        }
    }
}

fn text(error: ApiError) -> String {
    format!("{}: {}", error.code.as_str(), error.message)
}

async fn happen(pool: &Fixture, sub: &str, event: Event) {
    let status = |status: &'static str| pool.edit(sub, move |user| user.status = status.to_owned());
    match event {
        Event::Nothing => {}
        Event::Disabled => pool.disable(sub).await,
        Event::Unconfirmed => status("UNCONFIRMED").await,
        Event::ResetRequired => status("RESET_REQUIRED").await,
        Event::Compromised => status("COMPROMISED").await,
        Event::Deleted => delete_user(&pool.test, &pool.pool_id, "ada").await,
        Event::SignedOut => {
            let request = types::AdminUserGlobalSignOutRequest {
                user_pool_id: Some(pool.pool_id.clone()),
                username: Some("ada".to_owned()),
            };
            users::admin_user_global_sign_out(&pool.test, &signed_call(), request).await.unwrap();
        }
    }
}
