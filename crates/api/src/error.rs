//! What an operation answers instead of its output.

use std::borrow::Cow;
use std::fmt;

macro_rules! exceptions {
    ($($name:ident $fault:literal,)*) => {
        /// The name of an exception, as clients see it: those of the model and those of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ExceptionName {
            $(#[doc = concat!("`", stringify!($name), "` of the model.")] $name,)*
            /// The request needs a signature and has none.
            MissingAuthenticationTokenException,
            /// The signature lacks a part.
            IncompleteSignatureException,
            /// The signature does not match.
            InvalidSignatureException,
            /// The signature is too old.
            ExpiredTokenException,
            /// The access key is not known.
            UnrecognizedClientException,
            /// The body is not the JSON, or not the protobuf, that the operation takes.
            SerializationException,
            /// There is no such operation.
            UnknownOperationException,
            /// The request breaks a rule of the protocol rather than of the operation.
            ValidationException,
            /// The body is larger than a request may be.
            RequestEntityTooLargeException,
            /// The server sheds load, or cannot reach what it needs; the client may try again.
            ServiceUnavailable,
            /// This version does not do what is asked.
            NotImplemented,
        }

        impl ExceptionName {
            /// Every exception.
            pub const ALL: &'static [Self] = &[
                $(Self::$name,)*
                Self::MissingAuthenticationTokenException,
                Self::IncompleteSignatureException,
                Self::InvalidSignatureException,
                Self::ExpiredTokenException,
                Self::UnrecognizedClientException,
                Self::SerializationException,
                Self::UnknownOperationException,
                Self::ValidationException,
                Self::RequestEntityTooLargeException,
                Self::ServiceUnavailable,
                Self::NotImplemented,
            ];

            /// The name on the wire, `__type`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    Self::MissingAuthenticationTokenException => "MissingAuthenticationTokenException",
                    Self::IncompleteSignatureException => "IncompleteSignatureException",
                    Self::InvalidSignatureException => "InvalidSignatureException",
                    Self::ExpiredTokenException => "ExpiredTokenException",
                    Self::UnrecognizedClientException => "UnrecognizedClientException",
                    Self::SerializationException => "SerializationException",
                    Self::UnknownOperationException => "UnknownOperationException",
                    Self::ValidationException => "ValidationException",
                    Self::RequestEntityTooLargeException => "RequestEntityTooLargeException",
                    Self::ServiceUnavailable => "ServiceUnavailable",
                    Self::NotImplemented => "NotImplemented",
                }
            }

            /// Whether the model calls it the server's fault.
            fn is_fault(self) -> bool {
                match self {
                    $(Self::$name => $fault,)*
                    Self::ServiceUnavailable => true,
                    _ => false,
                }
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/exceptions.rs"));

impl ExceptionName {
    /// An error of this name.
    #[must_use]
    pub fn because(self, message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::new(self, message)
    }

    /// The HTTP status. AWS JSON services answer 400 to everything that the client can mend, also to bad signatures.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::ServiceUnavailable => 503,
            Self::NotImplemented => 501,
            Self::RequestEntityTooLargeException => 413,
            _ if self.is_fault() => 500,
            _ => 400,
        }
    }

    /// The gRPC status code, as a number: <https://grpc.io/docs/guides/status-codes/>.
    #[must_use]
    pub fn grpc_code(self) -> i32 {
        const INVALID_ARGUMENT: i32 = 3;
        const NOT_FOUND: i32 = 5;
        const ALREADY_EXISTS: i32 = 6;
        const PERMISSION_DENIED: i32 = 7;
        const RESOURCE_EXHAUSTED: i32 = 8;
        const FAILED_PRECONDITION: i32 = 9;
        const ABORTED: i32 = 10;
        const UNIMPLEMENTED: i32 = 12;
        const INTERNAL: i32 = 13;
        const UNAVAILABLE: i32 = 14;
        const UNAUTHENTICATED: i32 = 16;
        match self {
            Self::InvalidParameterException
            | Self::InvalidPasswordException
            | Self::PasswordHistoryPolicyViolationException
            | Self::SerializationException
            | Self::ValidationException => INVALID_ARGUMENT,
            Self::ResourceNotFoundException
            | Self::UserNotFoundException
            | Self::ScopeDoesNotExistException
            | Self::MFAMethodNotFoundException
            | Self::SoftwareTokenMFANotFoundException
            | Self::WebAuthnChallengeNotFoundException => NOT_FOUND,
            Self::AliasExistsException
            | Self::DeviceKeyExistsException
            | Self::DuplicateProviderException
            | Self::GroupExistsException
            | Self::ManagedLoginBrandingExistsException
            | Self::TermsExistsException
            | Self::UsernameExistsException => ALREADY_EXISTS,
            Self::AccessDeniedException | Self::ForbiddenException => PERMISSION_DENIED,
            Self::LimitExceededException
            | Self::ServiceQuotaExceededException
            | Self::TooManyFailedAttemptsException
            | Self::TooManyRequestsException
            | Self::RequestEntityTooLargeException => RESOURCE_EXHAUSTED,
            Self::ConcurrentModificationException => ABORTED,
            Self::UnknownOperationException | Self::NotImplemented => UNIMPLEMENTED,
            Self::ServiceUnavailable => UNAVAILABLE,
            Self::NotAuthorizedException
            | Self::UnauthorizedException
            | Self::RefreshTokenReuseException
            | Self::MissingAuthenticationTokenException
            | Self::IncompleteSignatureException
            | Self::InvalidSignatureException
            | Self::ExpiredTokenException
            | Self::UnrecognizedClientException => UNAUTHENTICATED,
            _ if self.is_fault() => INTERNAL,
            _ => FAILED_PRECONDITION,
        }
    }
}

impl fmt::Display for ExceptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An exception with its text. The text goes to the client: it holds no secret and no internal detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub code: ExceptionName,
    pub message: Cow<'static, str>,
    /// `reasonCode` of `InvalidParameterException`, the only member of an exception besides its message.
    pub reason_code: Option<&'static str>,
}

impl ApiError {
    /// An exception with its text.
    #[must_use]
    pub fn new(code: ExceptionName, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), reason_code: None }
    }

    /// `InvalidParameterException`.
    #[must_use]
    pub fn invalid_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ExceptionName::InvalidParameterException, message)
    }

    /// `NotAuthorizedException`.
    #[must_use]
    pub fn not_authorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ExceptionName::NotAuthorizedException, message)
    }

    /// `ResourceNotFoundException`.
    #[must_use]
    pub fn resource_not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ExceptionName::ResourceNotFoundException, message)
    }

    /// `InternalErrorException`. The text says what went wrong in general words.
    #[must_use]
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ExceptionName::InternalErrorException, message)
    }

    /// `SerializationException`.
    #[must_use]
    pub fn serialization(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ExceptionName::SerializationException, message)
    }

    /// `NotImplemented` for a member or an operation: `what is not supported by this version of Conclave`.
    #[must_use]
    pub fn not_supported(what: impl fmt::Display) -> Self {
        let message = format!("{what} is not supported by this version of Conclave");
        Self::new(ExceptionName::NotImplemented, message)
    }

    /// The HTTP status.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        self.code.http_status()
    }

    /// The gRPC status code, as a number.
    #[must_use]
    pub fn grpc_code(&self) -> i32 {
        self.code.grpc_code()
    }

    /// Whether the server failed, rather than the client: such errors are logged and counted as errors.
    #[must_use]
    pub fn is_our_fault(&self) -> bool {
        self.code.is_fault()
    }

    /// The body of an AWS JSON answer: `{"__type": ..., "message": ...}`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.message.len());
        out.extend_from_slice(b"{\"__type\":");
        crate::json::string(self.code.as_str(), &mut out);
        out.extend_from_slice(b",\"message\":");
        crate::json::string(&self.message, &mut out);
        if let Some(reason) = self.reason_code {
            out.extend_from_slice(b",\"reasonCode\":");
            crate::json::string(reason, &mut out);
        }
        out.push(b'}');
        out
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ApiError {}
