//! Users: sign-up, administration, and what is asked of them.

pub mod lookup;
pub mod password_policy;
