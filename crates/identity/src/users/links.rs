//! Identities at providers by which a user signs in: who has one is a row under the provider, and the
//! user's record says the same, so that a user is described without another read. Both change in
//! [`super::index`]. A provider that goes takes its rows along; what users' records say of it leads nowhere
//! from then on, because a provider of the same name that is made later has another id.
//!
//! Sources: API reference, AdminLinkProviderForUser, AdminDisableProviderForUser, AdminGetUser; developer
//! guide, "Linking federated users to an existing user profile".

use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::{
    keys,
    records::{IdentityProviderRecord, ProviderLink, UserRecord},
};
use serde_json::{Value, json};

use crate::{
    errors,
    identity_providers::{self, provider_not_found},
    tx::{Failure, Query, Stored, Tx},
};

/// The identifier that a provider gives a person: the subject of its tokens or assertions.
pub const SUBJECT: &str = "Cognito_Subject";
/// What users without a provider are called by: the pool's own.
const LOCAL: &str = "Cognito";
/// Identities of one user. Source: API reference, AdminLinkProviderForUser.
pub const PER_USER_MAX: usize = 5;
/// A key has to hold it.
const VALUE_BYTES_MAX: usize = 512;

/// A user as a request names it.
pub struct Identity {
    /// `Cognito`, or a provider.
    pub provider_name: String,
    /// [`SUBJECT`], or an attribute that the provider's claim is mapped to.
    pub attribute_name: String,
    /// The user name, or what the provider says.
    pub value: String,
}

impl Identity {
    /// `member` names it in refusals.
    ///
    /// # Errors
    /// InvalidParameterException for a part that is missing, or too long. The texts are judgement: the model
    /// calls all parts optional.
    pub fn parse(
        given: Option<types::ProviderUserIdentifierType>,
        member: &str,
    ) -> Result<Self, ApiError> {
        let given = given.unwrap_or_default();
        let missing = |part: &str| {
            errors::invalid_parameter(format!("Invalid {member}: {part} must not be empty"))
        };
        let part = |given: Option<String>, part: &str| {
            given.filter(|text| !text.is_empty()).ok_or_else(|| missing(part))
        };
        let identity = Self {
            provider_name: part(given.provider_name, "ProviderName")?,
            attribute_name: given.provider_attribute_name.unwrap_or_default(),
            value: part(given.provider_attribute_value, "ProviderAttributeValue")?,
        };
        if identity.value.len() > VALUE_BYTES_MAX {
            return Err(errors::invalid_parameter(format!(
                "Invalid {member}: ProviderAttributeValue must not be longer than {VALUE_BYTES_MAX} bytes"
            )));
        }
        Ok(identity)
    }

    /// Whether it is a user of the pool itself.
    pub fn is_local(&self) -> bool {
        self.provider_name == LOCAL
    }

    /// The provider of this identity. Its row must have been loaded.
    ///
    /// # Errors
    /// ResourceNotFoundException when there is none.
    pub fn provider(&self, tx: &Tx<'_>) -> Result<IdentityProviderRecord, ApiError> {
        let row = keys::identity_provider(&self.provider_name);
        let provider = tx.get::<IdentityProviderRecord>(&row)?;
        let found = provider.ok_or_else(|| provider_not_found(&self.provider_name))?;
        Ok(found.record)
    }

    /// The row that leads to the user.
    pub fn row(&self, provider: &IdentityProviderRecord) -> Vec<u8> {
        keys::provider_link(&id(provider), &self.attribute_name, &self.value)
    }

    /// Checks what the provider can say: a social one its subject alone, the others also what is mapped to
    /// an attribute of the pool. The texts are judgement.
    ///
    /// # Errors
    /// InvalidParameterException.
    pub fn check_attribute(
        &self,
        provider: &IdentityProviderRecord,
        member: &str,
    ) -> Result<(), ApiError> {
        let name = &self.attribute_name;
        if name == SUBJECT {
            return Ok(());
        }
        self.check_social(provider, member)?;
        if !provider.attribute_mapping.contains_key(name) {
            return Err(errors::invalid_parameter(format!(
                "Invalid {member}: ProviderAttributeName must be {SUBJECT} or an attribute that {} maps",
                provider.name
            )));
        }
        Ok(())
    }

    /// Checks that a social provider is asked for its subject.
    ///
    /// # Errors
    /// InvalidParameterException.
    pub fn check_social(
        &self,
        provider: &IdentityProviderRecord,
        member: &str,
    ) -> Result<(), ApiError> {
        if self.attribute_name == SUBJECT || !identity_providers::is_social(&provider.r#type) {
            return Ok(());
        }
        Err(errors::invalid_parameter(format!(
            "Invalid {member}: ProviderAttributeName must be {SUBJECT} for {}",
            provider.name
        )))
    }

    /// The link of a user that this identity is.
    pub fn link(&self, provider: &IdentityProviderRecord, now_ms: i64) -> ProviderLink {
        ProviderLink {
            provider_name: provider.name.clone(),
            provider_type: provider.r#type.clone(),
            provider_id: id(provider),
            attribute_name: self.attribute_name.clone(),
            value: self.value.clone(),
            is_primary: false,
            created_ms: now_ms,
        }
    }
}

/// The provider's id. A record from before there was one is told apart by its time.
pub fn id(provider: &IdentityProviderRecord) -> String {
    if provider.provider_id.is_empty() {
        return format!("{:036}", provider.created_ms);
    }
    provider.provider_id.clone()
}

/// The row that leads to the user with a link.
pub fn row(link: &ProviderLink) -> Vec<u8> {
    keys::provider_link(&link.provider_id, &link.attribute_name, &link.value)
}

/// Loads the user at each of `rows`.
///
/// # Errors
/// The store's.
pub async fn load(tx: &mut Tx<'_>, rows: &[&Vec<u8>]) -> Result<(), Failure> {
    let follow = |query: Query, row: &&Vec<u8>| query.follow((*row).clone(), &[keys::user_hop()]);
    tx.load(rows.iter().fold(Query::new(), follow)).await?;
    Ok(())
}

/// The user that [`load`] found at `row`.
///
/// # Errors
/// InternalErrorException when the record cannot be decoded.
pub fn user_at(tx: &Tx<'_>, row: &[u8]) -> Result<Option<Stored<UserRecord>>, ApiError> {
    let Some(sub) = tx.get_text(row) else { return Ok(None) };
    tx.get::<UserRecord>(&keys::user(&sub))
}

/// Adds a link, and drops those of providers that are gone where there would be too many otherwise.
///
/// # Errors
/// LimitExceededException; the store's.
pub async fn add(
    tx: &mut Tx<'_>,
    user: &mut UserRecord,
    link: ProviderLink,
) -> Result<(), Failure> {
    if user.links.len() >= PER_USER_MAX {
        let get = |query: Query, link: &ProviderLink| {
            query.get(keys::identity_provider(&link.provider_name))
        };
        tx.load(user.links.iter().fold(Query::new(), get)).await?;
        let mut live = Vec::new();
        for link in &user.links {
            let row = keys::identity_provider(&link.provider_name);
            let provider = tx.get::<IdentityProviderRecord>(&row)?;
            if provider.is_some_and(|provider| id(&provider.record) == link.provider_id) {
                live.push(link.clone());
            }
        }
        user.links = live;
    }
    if user.links.len() >= PER_USER_MAX {
        let text = format!("The maximum number of identities linked to a user is {PER_USER_MAX}.");
        return Err(ExceptionName::LimitExceededException.because(text).into());
    }
    user.links.push(link);
    Ok(())
}

/// The value of the attribute `identities`; `None` for a user without any.
pub fn described(user: &UserRecord) -> Option<String> {
    let describe = |link: &ProviderLink| {
        json!({
            "userId": link.value,
            "providerName": link.provider_name,
            "providerType": link.provider_type,
            "issuer": null,
            "primary": link.is_primary,
            "dateCreated": link.created_ms,
        })
    };
    let links: Vec<_> = user.links.iter().map(describe).collect();
    (!links.is_empty()).then(|| Value::from(links).to_string())
}

/// The claim `identities` of ID tokens: there every member is a text.
pub fn claim(user: &UserRecord) -> Option<Value> {
    let describe = |link: &ProviderLink| {
        json!({
            "userId": link.value,
            "providerName": link.provider_name,
            "providerType": link.provider_type,
            "issuer": null,
            "primary": link.is_primary.to_string(),
            "dateCreated": link.created_ms.to_string(),
        })
    };
    let links: Vec<_> = user.links.iter().map(describe).collect();
    (!links.is_empty()).then(|| Value::from(links))
}
