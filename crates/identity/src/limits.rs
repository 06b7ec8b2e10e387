//! How much of everything there may be. Defaults are Cognito's.
//! Source: developer guide, "Quotas in Amazon Cognito".

/// How much of everything a pool, or an app client, may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Custom attributes of one pool.
    pub custom_attributes_per_pool: usize,
    /// Secrets of one app client that are accepted at a time.
    pub secrets_per_client: usize,
    /// Resource servers of one pool.
    pub resource_servers_per_pool: i64,
    /// Custom domains of one account.
    pub custom_domains_per_account: i64,
    /// Identity providers of one pool.
    pub identity_providers_per_pool: i64,
    /// Managed login styles of one pool. Cognito's page names no quota: as many as app clients.
    pub branding_styles_per_pool: i64,
    /// Terms documents of one pool. As above: two for each app client.
    pub terms_per_pool: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            custom_attributes_per_pool: 50,
            secrets_per_client: 2,
            resource_servers_per_pool: 25,
            identity_providers_per_pool: 300,
            custom_domains_per_account: 4,
            branding_styles_per_pool: 1_000,
            terms_per_pool: 2_000,
        }
    }
}
