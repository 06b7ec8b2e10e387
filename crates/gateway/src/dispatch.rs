//! From an operation of the API's table to its handler. Both fronts go through
//! [`Dispatcher::call`]; nothing here knows HTTP.
//!
//! The order of the checks is AWS's: authentication (done by the front, which has the request),
//! then the form of the message, authorization on the resource that the message names, quota,
//! whether it is built, the constraints of the model, members that are not built, the handler.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use conclave_api::{ApiError, Caller, ExceptionName, Message, OPERATIONS, Op, Operation, Ref};
use conclave_crypto::token::UnverifiedToken;
use futures::future::BoxFuture;
use tracing::Instrument as _;

use crate::limits::Quotas;
use crate::principal::VerifiedPrincipal;

/// Through which door a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Front {
    /// AWS JSON 1.1.
    AwsJson,
    /// gRPC.
    Grpc,
}

impl Front {
    /// For logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Front::AwsJson => "aws-json",
            Front::Grpc => "grpc",
        }
    }
}

/// Who calls, as far as the front can tell. Tokens and client secrets in messages are the handlers'
/// business.
#[derive(Clone, Debug)]
pub enum Identity {
    /// The request was signed by this principal and its policy allows the operation.
    Principal(VerifiedPrincipal),
    /// The operation needs no signature.
    Anonymous,
}

/// What a handler knows of a request besides its message.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The operation.
    pub operation: &'static Operation,
    /// Who calls.
    pub caller: Identity,
    /// A UUID, in the answer and in every log line of the request.
    pub request_id: Arc<str>,
    /// The address at the other end of the connection.
    pub peer: Option<IpAddr>,
    /// The front.
    pub front: Front,
}

impl CallContext {
    /// The principal; every operation for signed callers has one.
    ///
    /// # Errors
    /// An internal error when there is none: the table says that this operation is not for signed
    /// callers.
    pub fn principal(&self) -> Result<&VerifiedPrincipal, ApiError> {
        match &self.caller {
            Identity::Principal(principal) => Ok(principal),
            Identity::Anonymous => Err(ApiError::internal(
                "a handler for signed callers was called without a principal",
            )),
        }
    }

    /// The account of the principal.
    pub fn account_id(&self) -> Option<&str> {
        self.principal().ok().map(|principal| principal.account_id.as_str())
    }

    /// The region that the principal signed for.
    pub fn region(&self) -> Option<&str> {
        self.principal().ok().map(|principal| principal.region.as_str())
    }
}

/// An operation's work, with the types of its messages forgotten.
pub type Handler = Arc<
    dyn Fn(CallContext, Box<dyn Message>) -> BoxFuture<'static, Result<Box<dyn Message>, ApiError>>
        + Send
        + Sync,
>;

/// The handlers of the operations that are built. What is not in it is refused by name.
#[derive(Default)]
pub struct Dispatcher {
    handlers: HashMap<&'static str, Handler>,
}

impl Dispatcher {
    /// Without any handler.
    pub fn new() -> Self {
        Dispatcher::default()
    }

    /// Registers the handler of an operation, which is known by its type. A second one replaces the
    /// first.
    #[must_use]
    pub fn on<O, F, Fut>(self, handler: F) -> Self
    where
        O: Op,
        F: Fn(CallContext, O::Input) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O::Output, ApiError>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.on_erased(
            O::NAME,
            Arc::new(move |context, input| {
                let handler = Arc::clone(&handler);
                Box::pin(async move {
                    let input = input.downcast::<O::Input>()?;
                    let output = handler(context, input).await?;
                    Ok(Box::new(output) as Box<dyn Message>)
                })
            }),
        )
    }

    /// Registers a handler that forgets the types itself.
    #[must_use]
    pub fn on_erased(mut self, name: &'static str, handler: Handler) -> Self {
        self.handlers.insert(name, handler);
        self
    }

    /// The operations that have a handler, in the order of the table.
    pub fn built(&self) -> impl Iterator<Item = &'static Operation> + '_ {
        OPERATIONS.iter().filter(|operation| self.handlers.contains_key(operation.name))
    }

    /// Runs one operation. The handler runs in a task of its own: when the client goes away in the
    /// middle, what was committed still has its effects, and a panic stays within its request.
    ///
    /// `permit` is whatever has to be held until the handler is finished, even when the answer has
    /// timed out before.
    ///
    /// # Errors
    /// Whatever the operation answers instead of its output.
    pub async fn call(
        &self,
        context: CallContext,
        input: Result<Box<dyn Message>, ApiError>,
        checks: &Checks,
        permit: impl Send + 'static,
    ) -> Result<Box<dyn Message>, ApiError> {
        let operation = context.operation;
        let input = input?;
        if let Identity::Principal(principal) = &context.caller {
            principal.authorize(operation.name, &resource(principal, &*input))?;
        }
        // A front that forgot to authenticate must not get past here.
        if operation.caller == Caller::SigV4 && matches!(context.caller, Identity::Anonymous) {
            return Err(ExceptionName::MissingAuthenticationTokenException
                .because("Missing Authentication Token"));
        }
        if let Some(quotas) = &checks.quotas {
            quotas.take(operation, &tenant(&context, &*input))?;
        }
        let Some(handler) = self.handlers.get(operation.name).map(Arc::clone) else {
            return Err(ApiError::not_supported(operation.name));
        };
        operation.check(&*input)?;
        let task = tokio::spawn(
            async move {
                let outcome = handler(context, input).await;
                drop(permit);
                outcome
            }
            .instrument(tracing::Span::current()),
        );
        match tokio::time::timeout(checks.deadline, task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(join)) => {
                // What the panic said may hold data of the request, so it is not repeated here.
                tracing::error!(
                    operation = operation.name,
                    panicked = join.is_panic(),
                    "a handler did not finish"
                );
                Err(ApiError::internal("Internal error"))
            }
            Err(_) => {
                tracing::warn!(operation = operation.name, "a handler took too long");
                Err(ExceptionName::ServiceUnavailable
                    .because("Service is unable to handle request."))
            }
        }
    }
}

/// What every call goes through besides its handler.
pub struct Checks {
    /// The quotas by category; `None` where they are off.
    pub quotas: Option<Quotas>,
    /// How long a client waits for a handler.
    pub deadline: Duration,
}

impl Default for Checks {
    fn default() -> Self {
        Checks { quotas: None, deadline: Duration::from_secs(30) }
    }
}

/// The ARN that a policy is asked about: the pool that the message names, or the resource of a tag
/// operation, or `*`.
pub(crate) fn resource(principal: &VerifiedPrincipal, input: &dyn Message) -> String {
    if let Some(arn) = text(input, "ResourceArn") {
        return arn.to_owned();
    }
    match text(input, "UserPoolId") {
        Some(pool) => {
            let region =
                pool.rsplit_once('_').map_or(principal.region.as_str(), |(region, _)| region);
            format!("arn:aws:cognito-idp:{region}:{}:userpool/{pool}", principal.account_id)
        }
        None => "*".to_owned(),
    }
}

/// Whose quota a call uses up: the account of a signed call, the pool or app client that an
/// unsigned one names.
fn tenant(context: &CallContext, input: &dyn Message) -> String {
    if let Some(account) = context.account_id() {
        return account.to_owned();
    }
    for member in ["UserPoolId", "ClientId"] {
        if let Some(value) = text(input, member) {
            return value.chars().take(128).collect();
        }
    }
    text(input, "AccessToken").and_then(pool_of_token).unwrap_or_default()
}

/// The pool that a token says it is from. Nothing is verified: this only chooses a bucket.
fn pool_of_token(token: &str) -> Option<String> {
    if token.len() > 16 * 1024 {
        return None;
    }
    let token = UnverifiedToken::parse(token).ok()?;
    let issuer = token.unverified_claim("iss")?.as_str()?;
    Some(issuer.rsplit('/').next().unwrap_or_default().chars().take(128).collect())
}

/// A member that is a text.
pub(crate) fn text<'a>(input: &'a dyn Message, member: &str) -> Option<&'a str> {
    match input.get(input.shape().find(member.as_bytes())?) {
        Ref::Text(text) => Some(text),
        _ => None,
    }
}
