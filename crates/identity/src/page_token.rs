//! Page tokens: where a list goes on. A token is sealed and bound to its list, so that it shows no key
//! of the store and is good for nothing but the next page of the same list.

use conclave_api::ApiError;
use conclave_crypto::seal::{Keyring, Purpose};

use crate::{call::CallPrincipal, errors, world::World};

/// The list that a token belongs to.
#[derive(Clone, Copy)]
pub struct List<'a> {
    /// `ListUsers`.
    pub operation: &'static str,
    /// Who lists: a token is of no use to another account, or in another region.
    pub principal: &'a CallPrincipal,
    /// What else makes it this list: the pool's id, a filter.
    pub of: &'a [&'a str],
}

impl List<'_> {
    fn parts(&self) -> Vec<&[u8]> {
        let own = [self.operation, &self.principal.account_id, &self.principal.region];
        own.into_iter().chain(self.of.iter().copied()).map(str::as_bytes).collect()
    }
}

/// A token for the page after the key `last`. Lists of a pool use the pool's keyring, and those of the
/// directory the cluster's.
///
/// # Errors
/// InternalErrorException when the keys cannot be used.
pub fn seal(
    world: &World,
    keyring: &Keyring,
    list: List<'_>,
    last: &[u8],
) -> Result<String, ApiError> {
    keyring
        .seal_token(Purpose::PageToken, &list.parts(), last, &*world.entropy)
        .map_err(|_| errors::internal("a page token could not be sealed"))
}

/// The key after which the page begins: empty without a token.
///
/// # Errors
/// InvalidParameterException when the token was not made for this list.
pub fn open(keyring: &Keyring, list: List<'_>, token: Option<&str>) -> Result<Vec<u8>, ApiError> {
    let Some(token) = token else { return Ok(Vec::new()) };
    match keyring.open_token(Purpose::PageToken, &list.parts(), token) {
        Ok(last) => Ok(last.expose().clone()),
        Err(_) => Err(errors::invalid_pagination_token()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{principal, test_world};

    #[tokio::test]
    async fn a_token_opens_for_its_own_list_alone() {
        let world = test_world().await;
        let keyring = &world.cluster_keys.get();
        let (owner, other, abroad) = (principal("111122223333"), principal("444455556666"), {
            let mut abroad = principal("111122223333");
            abroad.region = "eu-west-1".to_owned();
            abroad
        });
        let list = List { operation: "ListUsers", principal: &owner, of: &["pool", "filter"] };
        let token = seal(&world, keyring, list, b"last key").unwrap();
        assert_eq!(open(keyring, list, Some(&token)).unwrap(), b"last key");
        assert_eq!(open(keyring, list, None).unwrap(), b"");
        for wrong in [
            List { operation: "ListGroups", ..list },
            List { principal: &other, ..list },
            List { principal: &abroad, ..list },
            List { of: &["pool"], ..list },
            List { of: &["poolfilter", ""], ..list },
        ] {
            let refusal = open(keyring, wrong, Some(&token)).unwrap_err();
            assert_eq!(refusal, errors::invalid_pagination_token());
        }
        for damaged in ["", "x", &token[1..], &format!("{token}A"), &token.to_lowercase()] {
            assert!(open(keyring, list, Some(damaged)).is_err(), "{damaged}");
        }
    }
}
