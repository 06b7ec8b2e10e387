//! Risk configurations: what threat protection does about compromised passwords, takeovers of accounts, and addresses that are
//! always or never let in; for a pool, or for one of its app clients instead of the pool's.
//!
//! It is kept and described, and acts only while the pool's AdvancedSecurityMode is AUDIT or ENFORCED, as in Cognito: without it, also
//! the service lets a configuration be set and does nothing with it. With AUDIT the exceptions by address make a risk, and no action is
//! taken; with ENFORCED all of it acts ([`threat_protection`](crate::threat_protection)).

mod describe_risk_configuration;
mod set_risk_configuration;
mod settings;

pub use describe_risk_configuration::describe_risk_configuration;
pub use set_risk_configuration::set_risk_configuration;

#[cfg(test)]
mod tests;
