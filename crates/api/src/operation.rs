//! The table of operations that every front dispatches through.

use std::fmt;

use crate::error::{ApiError, ExceptionName};
use crate::message::Message;
use crate::refusal::{Refusal, Rule};
use crate::validate::Violations;
use crate::{json, types};

/// What stands before the operation's name and a dot in `X-Amz-Target`.
pub const TARGET_PREFIX: &str = "AWSCognitoIdentityProviderService";

/// The full name of the gRPC service.
pub const SERVICE_NAME: &str = "conclave.cognito.v1.CognitoIdentityProvider";

/// Who may call an operation, and how the call shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A principal of the account, with a SigV4 signature.
    SigV4,
    /// A user, with `AccessToken` in the request.
    AccessToken,
    /// A user with `AccessToken`, or one who is signing in with `Session`.
    AccessTokenOrSession,
    /// An app client; one with a secret proves it with `SecretHash` or `SECRET_HASH`.
    ClientSecretHash,
    /// An app client; one with a secret sends it in `ClientSecret`.
    ClientSecret,
    /// Whoever holds the one-time token of a notification.
    FeedbackToken,
}

/// Cognito's quota categories:
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html#category_operations>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are Cognito's")]
pub enum Category {
    UserAuthentication,
    UserCreation,
    UserFederation,
    UserAccountRecovery,
    UserRead,
    UserUpdate,
    UserToken,
    UserResourceRead,
    UserResourceUpdate,
    UserList,
    UserPoolRead,
    UserPoolUpdate,
    UserPoolResourceRead,
    UserPoolResourceUpdate,
    UserPoolClientRead,
    UserPoolClientUpdate,
    ClientAuthentication,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 17] = [
        Self::UserAuthentication,
        Self::UserCreation,
        Self::UserFederation,
        Self::UserAccountRecovery,
        Self::UserRead,
        Self::UserUpdate,
        Self::UserToken,
        Self::UserResourceRead,
        Self::UserResourceUpdate,
        Self::UserList,
        Self::UserPoolRead,
        Self::UserPoolUpdate,
        Self::UserPoolResourceRead,
        Self::UserPoolResourceUpdate,
        Self::UserPoolClientRead,
        Self::UserPoolClientUpdate,
        Self::ClientAuthentication,
    ];
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One operation of the API.
pub struct Operation {
    /// As in `X-Amz-Target`.
    pub name: &'static str,
    pub caller: Caller,
    pub category: Category,
    /// The exceptions that the model declares for it.
    pub errors: &'static [ExceptionName],
    /// Whether the model has an output; without one an AWS JSON answer has no body.
    pub has_output: bool,
    /// Members that are refused by name unless they are off.
    pub refusals: &'static [Refusal],
    /// The gRPC path, `/package.Service/Method`.
    pub path: &'static str,
    input: fn() -> Box<dyn Message>,
    output: fn() -> Box<dyn Message>,
}

/// A decoded request.
#[derive(Debug)]
pub struct Decoded {
    pub message: Box<dyn Message>,
    /// How many members, at any depth, this version does not know and has ignored.
    pub unknown_members: u32,
}

impl Operation {
    /// The operation of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        let at = OPERATIONS.binary_search_by(|operation| operation.name.cmp(name)).ok()?;
        OPERATIONS.get(at)
    }

    /// The operation of an `X-Amz-Target` header.
    #[must_use]
    pub fn by_target(target: &str) -> Option<&'static Self> {
        Self::by_name(target.strip_prefix(TARGET_PREFIX)?.strip_prefix('.')?)
    }

    /// The operation of a gRPC path.
    #[must_use]
    pub fn by_path(path: &str) -> Option<&'static Self> {
        Self::by_name(path.strip_prefix('/')?.strip_prefix(SERVICE_NAME)?.strip_prefix('/')?)
    }

    /// The position in [`OPERATIONS`].
    #[must_use]
    pub fn index(&self) -> usize {
        OPERATIONS.binary_search_by(|operation| operation.name.cmp(self.name)).unwrap_or_default()
    }

    /// An empty input.
    #[must_use]
    pub fn new_input(&self) -> Box<dyn Message> {
        (self.input)()
    }

    /// An empty output.
    #[must_use]
    pub fn new_output(&self) -> Box<dyn Message> {
        (self.output)()
    }

    /// Reads an input in AWS JSON. An empty body counts as `{}`.
    ///
    /// # Errors
    /// `SerializationException` when the body is not JSON, or has a member twice or of the wrong type.
    pub fn decode_json(&self, body: &[u8]) -> Result<Decoded, ApiError> {
        let mut message = self.new_input();
        let unknown_members = json::decode(body, &mut *message)?;
        Ok(Decoded { message, unknown_members })
    }

    /// Reads an output in AWS JSON, as a client does.
    ///
    /// # Errors
    /// As [`Operation::decode_json`].
    pub fn decode_json_output(&self, body: &[u8]) -> Result<Decoded, ApiError> {
        let mut message = self.new_output();
        let unknown_members = json::decode(body, &mut *message)?;
        Ok(Decoded { message, unknown_members })
    }

    /// Reads an input in protobuf.
    ///
    /// # Errors
    /// `SerializationException` when the bytes are not that message, or a document in it is not JSON.
    pub fn decode_proto(&self, body: &[u8]) -> Result<Box<dyn Message>, ApiError> {
        let mut message = self.new_input();
        message.merge_proto(body).map_err(|error| ApiError::serialization(error.to_string()))?;
        json::check_documents(&*message)?;
        Ok(message)
    }

    /// Checks an input against the model's constraints, then against what is not built.
    ///
    /// # Errors
    /// `InvalidParameterException` with every broken constraint; `NotImplemented` with the first member that is refused.
    pub fn check(&self, input: &dyn Message) -> Result<(), ApiError> {
        let mut violations = Violations::default();
        input.validate(&mut violations);
        violations.into_result()?;
        self.refuse(input)
    }

    /// Refuses members whose effect is not built.
    ///
    /// # Errors
    /// `NotImplemented` with the first such member that is not off.
    pub fn refuse(&self, input: &dyn Message) -> Result<(), ApiError> {
        crate::refusal::check(self, input)
    }

    /// Whether the model declares the exception for this operation.
    #[must_use]
    pub fn declares(&self, code: ExceptionName) -> bool {
        self.errors.contains(&code)
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("name", &self.name)
            .field("caller", &self.caller)
            .field("category", &self.category)
            .finish_non_exhaustive()
    }
}

/// An operation as a type, so that a handler's input and output are checked where it is registered. See [`ops`].
pub trait Op: Send + Sync + 'static {
    type Input: Message + Default + Clone;
    type Output: Message + Default + Clone;
    /// As in `X-Amz-Target`.
    const NAME: &'static str;
    /// The position in [`OPERATIONS`].
    const INDEX: usize;
}

fn new<T: Message + Default>() -> Box<dyn Message> {
    Box::new(T::default())
}

macro_rules! op {
    ($name:ident $text:literal $index:literal $input:ty, $output:ty) => {
        #[doc = concat!("`", $text, "`.")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Op for $name {
            type Input = $input;
            type Output = $output;
            const NAME: &'static str = $text;
            const INDEX: usize = $index;
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/operations.rs"));
