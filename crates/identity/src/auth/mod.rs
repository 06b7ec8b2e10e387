//! Signing in: flows, challenges, tokens.

pub mod access_token;
pub mod attempts;
pub mod challenge_session;
pub mod claims;
pub mod device_auth;
pub mod flows;
pub mod gate;
mod get_tokens_from_refresh_token;
mod initiate_auth;
pub mod lockout;
pub mod new_password;
pub mod password;
pub mod refresh;
mod respond_to_auth_challenge;
mod revoke_token;
pub mod srp;
pub mod step;
pub mod tokens;
pub mod unknown;

pub use get_tokens_from_refresh_token::get_tokens_from_refresh_token;
pub use initiate_auth::initiate_auth;
pub use respond_to_auth_challenge::respond_to_auth_challenge;
pub use revoke_token::revoke_token;

#[cfg(test)]
mod tests;
