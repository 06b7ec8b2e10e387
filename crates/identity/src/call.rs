//! Who calls, as the gateway has found out.

use std::net::IpAddr;

/// The circumstances of one call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The principal of a signed call; `None` for calls that carry a token, or nothing.
    pub principal: Option<CallPrincipal>,
    /// A UUID; also `event_id` of tokens that this call issues.
    pub request_id: String,
    /// The address at the other end of the connection, where there is one.
    pub peer: Option<IpAddr>,
}

/// A principal whose signature and policy the gateway has checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPrincipal {
    /// 12 digits.
    pub account_id: String,
    /// The region of the signature's scope, such as `us-east-1`.
    pub region: String,
    /// `arn:aws:iam::<account>:<user/name>`.
    pub arn: String,
}
