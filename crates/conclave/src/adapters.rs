//! What the gateway asks for, answered by the domain.

use std::sync::Arc;

use async_trait::async_trait;
use conclave_api::{ApiError, Operation, types};
use conclave_crypto::token::Jwks;
use conclave_gateway::{
    auth_event_feedback::{Feedback, Given},
    confirm_user::{Asked, Confirmations},
    logo::{Logo, Logos, LogosUnavailable},
    management::Readiness,
    oidc::{IssuerMetadata, Issuers, IssuersUnavailable},
    policy::Policy,
    principal::{Principal, Principals, PrincipalsUnavailable},
};
use conclave_identity::{
    directory, issuer, threat_protection, ui_customization, users, world::World,
};
use tokio::sync::watch;

/// Principals as the directory knows them.
pub struct DirectoryPrincipals(pub Arc<World>);

#[async_trait]
impl Principals for DirectoryPrincipals {
    async fn find(&self, access_key_id: &str) -> Result<Option<Principal>, PrincipalsUnavailable> {
        let unavailable = |error: &dyn std::fmt::Display| PrincipalsUnavailable(error.to_string());
        let found = directory::find_access_key(&self.0, access_key_id).await;
        let Some(key) = found.map_err(|error| unavailable(&error))? else { return Ok(None) };
        let policy = match key.record.policy_json.as_str() {
            "" => Policy::allow_all(),
            json => Policy::parse(json).map_err(|error| unavailable(&error))?,
        };
        Ok(Some(Principal {
            account_id: key.record.account_id,
            name: key.record.principal,
            access_key_id: key.record.access_key_id,
            secret_access_key: key.secret,
            session_token: None,
            policy: Arc::new(policy),
        }))
    }
}

/// Pools' public keys, as the pools' groups know them.
pub struct PoolIssuers(pub Arc<World>);

#[async_trait]
impl Issuers for PoolIssuers {
    async fn jwks(&self, pool_id: &str) -> Result<Option<Jwks>, IssuersUnavailable> {
        issuer::jwks(&self.0, pool_id).await.map_err(|error| IssuersUnavailable(error.to_string()))
    }

    async fn metadata(&self, pool_id: &str) -> Result<Option<IssuerMetadata>, IssuersUnavailable> {
        let found = issuer::issuer(&self.0, pool_id).await;
        let found = found.map_err(|error| IssuersUnavailable(error.to_string()))?;
        Ok(found.map(|issuer| IssuerMetadata { issuer, domain: None }))
    }
}

/// Logos of pools' classic pages.
pub struct PoolLogos(pub Arc<World>);

#[async_trait]
impl Logos for PoolLogos {
    async fn logo(
        &self,
        pool_id: &str,
        client_id: &str,
        version: &str,
    ) -> Result<Option<Logo>, LogosUnavailable> {
        let found = ui_customization::logo(&self.0, pool_id, client_id, version).await;
        let found = found.map_err(|error| LogosUnavailable(error.to_string()))?;
        Ok(found.map(|logo| Logo { content_type: logo.content_type, bytes: logo.bytes }))
    }
}

/// Sign-ups that are confirmed by a link.
pub struct LinkedSignUps(pub Arc<World>);

#[async_trait]
impl Confirmations for LinkedSignUps {
    async fn confirm(&self, asked: Asked) -> Result<(), ApiError> {
        let request = types::ConfirmSignUpRequest {
            client_id: asked.client_id,
            username: asked.user_name,
            confirmation_code: asked.confirmation_code,
            ..Default::default()
        };
        // the limits of single members, which the API's front checks for operations
        if let Some(operation) = Operation::by_name("ConfirmSignUp") {
            operation.check(&request)?;
        }
        let world = Arc::clone(&self.0);
        // in a task of its own, so that it goes on when the browser goes away
        let confirming = async move { users::confirm_sign_up_by_link(&world, request).await };
        let confirmed = tokio::spawn(confirming).await;
        confirmed.unwrap_or_else(|_| Err(ApiError::internal("Internal error")))
    }
}

/// What users say of sign-ins by a link.
pub struct LinkedFeedback(pub Arc<World>);

#[async_trait]
impl Feedback for LinkedFeedback {
    async fn give(&self, given: Given) -> Result<(), ApiError> {
        let request = types::UpdateAuthEventFeedbackRequest {
            user_pool_id: given.user_pool_id,
            username: given.user_name,
            event_id: given.event_id,
            feedback_token: given.feedback_token,
            feedback_value: given.feedback_value,
        };
        // the limits of single members, which the API's front checks for operations
        if let Some(operation) = Operation::by_name("UpdateAuthEventFeedback") {
            operation.check(&request)?;
        }
        let world = Arc::clone(&self.0);
        // in a task of its own, so that it goes on when the browser goes away
        let giving = async move {
            threat_protection::update_auth_event_feedback_by_link(&world, request).await
        };
        let given = tokio::spawn(giving).await;
        given.unwrap_or_else(|_| Err(ApiError::internal("Internal error"))).map(|_| ())
    }
}

/// Ready when every part of the process says so, and until it is told to stop.
pub struct ProcessReadiness {
    /// What has to be ready, with its name.
    pub parts: Vec<Arc<dyn Readiness>>,
    /// True once the directory is open and the public port is served.
    pub open: watch::Receiver<bool>,
    /// True once the process is stopping.
    pub stopping: watch::Receiver<bool>,
}

#[async_trait]
impl Readiness for ProcessReadiness {
    async fn check(&self) -> Result<(), String> {
        if *self.stopping.borrow() {
            return Err("shutting down".to_owned());
        }
        for part in &self.parts {
            part.check().await?;
        }
        if !*self.open.borrow() {
            return Err("the directory is not open yet".to_owned());
        }
        Ok(())
    }
}
