//! Signing in: flows, challenges, tokens. Which step follows which is in [`machine`].

pub mod access_token;
mod admin_initiate_auth;
mod admin_respond_to_auth_challenge;
mod associate_software_token;
pub mod attempts;
mod begin;
pub mod challenge_session;
pub mod choice;
pub mod claims;
pub mod custom_auth;
pub mod device_auth;
pub mod factors;
pub mod flows;
pub mod gate;
mod get_tokens_from_refresh_token;
mod initiate_auth;
pub mod lockout;
pub mod machine;
pub mod new_password;
pub mod otp;
pub mod passkey;
pub mod password;
pub mod refresh;
mod respond;
mod respond_to_auth_challenge;
mod revoke_token;
pub mod second_factor;
mod setup_session;
pub mod sign_up_session;
pub mod software_token;
pub mod srp;
pub mod step;
pub mod tokens;
pub mod unknown;
mod verify_software_token;

pub use admin_initiate_auth::admin_initiate_auth;
pub use admin_respond_to_auth_challenge::admin_respond_to_auth_challenge;
pub use associate_software_token::associate_software_token;
pub use get_tokens_from_refresh_token::get_tokens_from_refresh_token;
pub use initiate_auth::initiate_auth;
pub use respond_to_auth_challenge::respond_to_auth_challenge;
pub use revoke_token::revoke_token;
pub use verify_software_token::verify_software_token;

#[cfg(test)]
mod tests;
