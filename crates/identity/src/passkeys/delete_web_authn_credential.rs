//! DeleteWebAuthnCredential: the user who is signed in gives a passkey up.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_DeleteWebAuthnCredential.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_crypto::encoding;

use super::{rows, token_user};
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers DeleteWebAuthnCredential. One read and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn delete_web_authn_credential(
    world: &World,
    _call: &Call,
    input: types::DeleteWebAuthnCredentialRequest,
) -> Result<types::DeleteWebAuthnCredentialResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    let id = encoding::base64url_decode(input.credential_id.as_deref().unwrap_or_default());
    transact(world, &DeleteWebAuthnCredential { token, id: id.unwrap_or_default() }).await
}

struct DeleteWebAuthnCredential<'a> {
    token: PresentedToken<'a>,
    id: Vec<u8>,
}

#[async_trait]
impl Transaction for DeleteWebAuthnCredential<'_> {
    type Output = types::DeleteWebAuthnCredentialResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = Query::new().get(rows::key(self.token.sub()));
        let (user, _) = token_user(tx, &self.token, query).await?;
        let mut passkeys = rows::load(tx, &user.sub)?;
        let before = passkeys.len();
        passkeys.retain(|passkey| passkey.credential_id != self.id);
        if passkeys.len() == before {
            // the text is ours
            return Err(ApiError::resource_not_found("The passkey does not exist.").into());
        }
        tx.delete(rows::index_key(&self.id));
        rows::put_changed(tx, &user, passkeys)?;
        Ok(types::DeleteWebAuthnCredentialResponse::default().into())
    }
}
