//! Users: sign-up, administration, and what is asked of them.
//!
//! Operations stand in files of their own name. Beside them the rules that they share: who a name means
//! ([`lookup`], [`username`], [`aliases`]), what is stored of a user ([`index`], [`attributes`],
//! [`credentials`]), and how it is proved who somebody is ([`secret_hash`], [`codes`]).

mod admin_confirm_sign_up;
mod admin_create_user;
mod admin_delete_user;
mod admin_delete_user_attributes;
mod admin_disable_provider_for_user;
mod admin_disable_user;
mod admin_enable_user;
mod admin_get_user;
mod admin_link_provider_for_user;
mod admin_reset_user_password;
mod admin_set_user_mfa_preference;
mod admin_set_user_password;
mod admin_set_user_settings;
mod admin_update_user_attributes;
pub mod admin_user;
mod admin_user_global_sign_out;
pub mod aliases;
mod app_request;
mod attribute_changes;
pub mod attributes;
mod change_password;
pub mod client_secret;
pub mod codes;
mod compare_password;
mod confirm_forgot_password;
mod confirm_sign_up;
pub mod contact;
pub mod credentials;
mod delete_user;
mod delete_user_attributes;
pub mod delivery;
pub mod describe;
mod filter;
mod forgot_password;
mod get_user;
mod get_user_attribute_verification_code;
mod get_user_auth_factors;
mod global_sign_out;
pub mod index;
pub mod links;
mod list_users;
pub mod lookup;
pub mod mfa_preference;
pub mod migrate;
pub mod password_history;
pub mod password_policy;
mod resend_confirmation_code;
pub mod secret_hash;
mod set_user_mfa_preference;
mod set_user_settings;
pub mod sign_out;
mod sign_up;
pub mod status;
pub mod token_user;
mod update_user_attributes;
pub mod username;
mod verify_user_attribute;

pub use admin_confirm_sign_up::admin_confirm_sign_up;
pub use admin_create_user::{admin_create_user, admin_create_user_as};
pub use admin_delete_user::admin_delete_user;
pub use admin_delete_user_attributes::admin_delete_user_attributes;
pub use admin_disable_provider_for_user::admin_disable_provider_for_user;
pub use admin_disable_user::admin_disable_user;
pub use admin_enable_user::admin_enable_user;
pub use admin_get_user::admin_get_user;
pub use admin_link_provider_for_user::admin_link_provider_for_user;
pub use admin_reset_user_password::admin_reset_user_password;
pub use admin_set_user_mfa_preference::admin_set_user_mfa_preference;
pub use admin_set_user_password::admin_set_user_password;
pub use admin_set_user_settings::admin_set_user_settings;
pub use admin_update_user_attributes::admin_update_user_attributes;
pub use admin_user_global_sign_out::admin_user_global_sign_out;
pub use change_password::change_password;
pub use compare_password::{PasswordState, compare_password};
pub use confirm_forgot_password::confirm_forgot_password;
pub use confirm_sign_up::{confirm_sign_up, confirm_sign_up_by_link};
pub use delete_user::delete_user;
pub use delete_user_attributes::delete_user_attributes;
pub use forgot_password::forgot_password;
pub use get_user::get_user;
pub use get_user_attribute_verification_code::get_user_attribute_verification_code;
pub use get_user_auth_factors::get_user_auth_factors;
pub use global_sign_out::global_sign_out;
pub use list_users::list_users;
pub use resend_confirmation_code::resend_confirmation_code;
pub use set_user_mfa_preference::set_user_mfa_preference;
pub use set_user_settings::set_user_settings;
pub use sign_up::sign_up;
pub use update_user_attributes::update_user_attributes;
pub use verify_user_attribute::verify_user_attribute;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod listed_at_size;
