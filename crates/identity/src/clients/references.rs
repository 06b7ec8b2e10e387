//! What a client names that has to exist in its pool: scopes of resource servers, identity providers.

use std::collections::BTreeSet;

use conclave_api::{ApiError, types};
use conclave_store::{keys, records::IdentityProviderRecord};

use crate::{
    errors, resource_servers,
    tx::{Failure, Query, Tx},
};

/// The users of the pool itself.
const COGNITO: &str = "COGNITO";
/// Providers that one read asks for: with 50 scopes and the pool's own rows, no more than
/// [`conclave_store::limits::GETS_MAX`].
const PROVIDERS_READ_MAX: usize = 64;

/// What a request names.
#[derive(Clone, Copy)]
pub(super) struct References<'a> {
    scopes: &'a [String],
    providers: &'a [String],
}

impl<'a> References<'a> {
    pub(super) fn of_new(request: &'a types::CreateUserPoolClientRequest) -> Self {
        Self {
            scopes: &request.allowed_oauth_scopes,
            providers: &request.supported_identity_providers,
        }
    }

    pub(super) fn of_update(request: &'a types::UpdateUserPoolClientRequest) -> Self {
        Self {
            scopes: &request.allowed_oauth_scopes,
            providers: &request.supported_identity_providers,
        }
    }

    /// Loads `query` and what [`Self::check`] needs: one read, unless many providers are named.
    ///
    /// # Errors
    /// The store's; ResourceNotFoundException when there is no such pool.
    pub(super) async fn load(self, tx: &mut Tx<'_>, query: Query) -> Result<(), Failure> {
        let max = usize::try_from(tx.world().settings.limits.identity_providers_per_pool);
        let providers: BTreeSet<&String> = self.others().collect();
        // of more than a pool can have, one does not exist; the rest need not be looked for
        let providers: Vec<_> = providers.into_iter().take(max.unwrap_or(0) + 1).collect();
        let get = |query: Query, name: &&String| query.get(keys::identity_provider(name));
        let (first, rest) = providers.split_at(providers.len().min(PROVIDERS_READ_MAX));
        for names in rest.chunks(PROVIDERS_READ_MAX) {
            tx.load(names.iter().fold(Query::new(), get)).await?;
        }
        // last, because the client is that of the last load
        let query = resource_servers::with_scopes(query, self.scopes);
        tx.load(first.iter().fold(query, get)).await?;
        Ok(())
    }

    /// Checks that all of it exists. The commit has to rely on the configuration, of which they are part.
    ///
    /// # Errors
    /// InvalidParameterException, ScopeDoesNotExistException.
    pub(super) fn check(self, tx: &Tx<'_>, pool_id: &str) -> Result<(), ApiError> {
        let max = tx.world().settings.limits.identity_providers_per_pool;
        let providers: BTreeSet<&String> = self.others().collect();
        if i64::try_from(providers.len()).is_ok_and(|count| count > max) {
            return Err(errors::invalid_parameter(format!(
                "An app client can have at most {max} identity providers."
            )));
        }
        for provider in self.others() {
            let row = keys::identity_provider(provider);
            if tx.get::<IdentityProviderRecord>(&row)?.is_none() {
                return Err(errors::invalid_parameter(format!(
                    "The provider {provider} does not exist for User Pool {pool_id}."
                )));
            }
        }
        resource_servers::check_scopes(tx, self.scopes)
    }

    fn others(self) -> impl Iterator<Item = &'a String> {
        self.providers.iter().filter(|provider| *provider != COGNITO)
    }
}
