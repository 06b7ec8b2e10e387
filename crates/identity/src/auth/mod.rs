//! Signing in: flows, challenges, tokens.

pub mod lockout;
