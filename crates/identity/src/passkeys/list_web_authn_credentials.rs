//! ListWebAuthnCredentials: the passkeys of the user who is signed in, the oldest first.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListWebAuthnCredentials.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_crypto::encoding;
use conclave_store::records::Passkey;

use super::{PER_USER_MAX, rows, token_user};
use crate::{
    auth::access_token::PresentedToken,
    call::{Call, CallPrincipal},
    page_token::{self, List},
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers ListWebAuthnCredentials. One read.
///
/// # Errors
/// As the API declares them.
pub async fn list_web_authn_credentials(
    world: &World,
    _call: &Call,
    input: types::ListWebAuthnCredentialsRequest,
) -> Result<types::ListWebAuthnCredentialsResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    let given = input.max_results.and_then(|max| usize::try_from(max).ok());
    // 0 is as good as nothing said
    let limit = given.filter(|max| *max > 0).unwrap_or(PER_USER_MAX).min(PER_USER_MAX);
    let list = ListWebAuthnCredentials { token, limit, next: input.next_token };
    transact(world, &list).await
}

struct ListWebAuthnCredentials<'a> {
    token: PresentedToken<'a>,
    limit: usize,
    next: Option<String>,
}

#[async_trait]
impl Transaction for ListWebAuthnCredentials<'_> {
    type Output = types::ListWebAuthnCredentialsResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = Query::new().get(rows::key(self.token.sub()));
        let (user, _) = token_user(tx, &self.token, query).await?;
        let (config, world) = (tx.pool()?, tx.world());
        // the list belongs to a user: whoever has the user's token may go on with it
        let nobody =
            CallPrincipal { account_id: String::new(), region: String::new(), arn: String::new() };
        let of = [config.id(), user.sub.as_str()];
        let list = List { operation: "ListWebAuthnCredentials", principal: &nobody, of: &of };
        let after = page_token::open(&config.keyring, list, self.next.as_deref())?;
        let mut passkeys = rows::load(tx, &user.sub)?;
        passkeys.sort_by_cached_key(place);
        passkeys.retain(|passkey| place(passkey) > after);
        let has_more = passkeys.len() > self.limit;
        passkeys.truncate(self.limit);
        let next_token = match passkeys.last().filter(|_| has_more) {
            Some(last) => Some(page_token::seal(world, &config.keyring, list, &place(last))?),
            None => None,
        };
        let credentials = passkeys.into_iter().map(describe).collect();
        Ok(types::ListWebAuthnCredentialsResponse { credentials, next_token }.into())
    }
}

/// Where a passkey stands in the list: that one is deleted between two pages moves none.
fn place(passkey: &Passkey) -> Vec<u8> {
    [&passkey.created_ms.to_be_bytes()[..], &passkey.credential_id].concat()
}

fn describe(passkey: Passkey) -> types::WebAuthnCredentialDescription {
    // authenticators say no name; in the words of the API reference's example
    let name = match passkey.attachment.as_deref() {
        Some("platform") => "Platform passkey",
        Some(_) => "Roaming passkey",
        None => "Passkey",
    };
    types::WebAuthnCredentialDescription {
        credential_id: Some(encoding::base64url(&passkey.credential_id)),
        friendly_credential_name: Some(name.to_owned()),
        relying_party_id: Some(passkey.relying_party_id),
        authenticator_attachment: passkey.attachment,
        authenticator_transports: passkey.transports,
        created_at: Some(passkey.created_ms),
    }
}
