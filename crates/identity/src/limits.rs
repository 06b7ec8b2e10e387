//! How much of everything there may be. Defaults are Cognito's.
//! Source: developer guide, "Quotas in Amazon Cognito".

/// How much of everything a pool, or an app client, may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Custom attributes of one pool.
    pub custom_attributes_per_pool: usize,
    /// Secrets of one app client that are accepted at a time.
    pub secrets_per_client: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { custom_attributes_per_pool: 50, secrets_per_client: 2 }
    }
}
