//! Signing in: flows, challenges, tokens.

pub mod access_token;
pub mod attempts;
pub mod challenge_session;
pub mod claims;
pub mod flows;
mod initiate_auth;
pub mod lockout;
pub mod new_password;
pub mod password;
pub mod refresh;
mod respond_to_auth_challenge;
pub mod srp;
pub mod step;
pub mod tokens;
pub mod unknown;

pub use initiate_auth::initiate_auth;
pub use respond_to_auth_challenge::respond_to_auth_challenge;

#[cfg(test)]
mod tests;
