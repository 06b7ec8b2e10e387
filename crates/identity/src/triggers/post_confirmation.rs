//! PostConfirmation: is told that a user has been confirmed, or has set a password anew.
//! Source: developer guide, "Post confirmation Lambda trigger".

use conclave_api::ApiError;
use conclave_store::records::UserRecord;
use serde_json::{Map, json};

use super::{Event, Trigger, Who, attributes, metadata};
use crate::tx::Tx;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// A sign-up was confirmed, by whatever way.
    SignUp,
    /// ConfirmForgotPassword.
    ForgotPassword,
}

/// Tells it after the commit. `user` is as the commit leaves it.
///
/// # Errors
/// InternalErrorException when the pool is not loaded.
pub fn tell(tx: &mut Tx<'_>, confirmed: Confirmed, user: &UserRecord) -> Result<(), ApiError> {
    let pool = tx.pool()?;
    let mut request = Map::new();
    request.insert("userAttributes".to_owned(), attributes(user));
    metadata(&mut request, "clientMetadata", tx.circumstances().client_metadata);
    let source = match confirmed {
        Confirmed::SignUp => "PostConfirmation_ConfirmSignUp",
        Confirmed::ForgotPassword => "PostConfirmation_ConfirmForgotPassword",
    };
    let client = tx.client();
    let client_id = client.as_ref().map(|client| client.record.client_id.as_str());
    let who = Who { username: &user.username, client_id };
    let trigger = Trigger::PostConfirmation;
    if let Some(event) = Event::new(&pool, trigger, (source, "1"), who, request, json!({})) {
        tx.after_commit(event);
    }
    Ok(())
}
