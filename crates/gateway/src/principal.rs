//! Principals: who signs requests. The directory holds them; this module finds, caches and
//! authenticates them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::secret::SecretString;
use conclave_outbound::Clock;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::policy::{Decision, Policy};
use crate::sigv4::{Claim, Credential, Options, SignatureError, SignedRequest, SigningKeys};

/// A principal with one of its access keys, as the directory knows it.
#[derive(Clone)]
pub struct Principal {
    /// The account (tenant): twelve digits.
    pub account_id: String,
    /// The part of the ARN behind the account, such as `user/alice`.
    pub name: String,
    /// The access key that was asked for.
    pub access_key_id: String,
    /// Its secret half.
    pub secret_access_key: SecretString,
    /// The token that has to come with a temporary key.
    pub session_token: Option<SecretString>,
    /// What the principal may do.
    pub policy: Arc<Policy>,
}

impl Principal {
    /// `arn:aws:iam::123456789012:user/alice`.
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:{}", self.account_id, self.name)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("account_id", &self.account_id)
            .field("name", &self.name)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// The directory could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("principals cannot be read now: {0}")]
pub struct PrincipalsUnavailable(pub String);

/// Where principals are found.
#[async_trait::async_trait]
pub trait Principals: Send + Sync {
    /// The principal of an access key that exists and is active; `None` for every other key.
    ///
    /// # Errors
    /// When the directory cannot be read. Never used to say that a key is unknown.
    async fn find(&self, access_key_id: &str) -> Result<Option<Principal>, PrincipalsUnavailable>;
}

/// A principal whose signature was right.
#[derive(Clone, Debug)]
pub struct VerifiedPrincipal {
    /// The account (tenant): twelve digits.
    pub account_id: String,
    /// The part of the ARN behind the account, such as `user/alice`.
    pub name: String,
    /// The whole ARN.
    pub arn: String,
    /// The access key that signed.
    pub access_key_id: String,
    /// The region in the credential scope.
    pub region: String,
    /// What the principal may do.
    pub policy: Arc<Policy>,
}

impl VerifiedPrincipal {
    /// Checks that the policy allows an operation on a resource (an ARN, or `*`).
    ///
    /// # Errors
    /// `AccessDeniedException` with the text that IAM has for it.
    pub fn authorize(&self, operation: &str, resource: &str) -> Result<(), ApiError> {
        let action = format!("cognito-idp:{operation}");
        let why = match self.policy.decide(&action, resource) {
            Decision::Allowed => return Ok(()),
            Decision::ExplicitDeny => {
                "with an explicit deny in an identity-based policy".to_owned()
            }
            Decision::ImplicitDeny => {
                format!("because no identity-based policy allows the {action} action")
            }
        };
        let message = format!(
            "User: {} is not authorized to perform: {action} on resource: {resource} {why}",
            self.arn
        );
        Err(ExceptionName::AccessDeniedException.because(message))
    }
}

/// How long a principal is used without asking again: a revoked key stops working within this time.
pub const MAX_AGE: Duration = Duration::from_secs(1);

/// Caches another source for at most [`MAX_AGE`], unknown keys too. Requests with the same key wait
/// for one lookup; the number of entries and of lookups under way is bounded, so that random keys
/// cost neither memory nor the directory's capacity.
pub struct CachedPrincipals<P> {
    inner: P,
    clock: Arc<dyn Clock>,
    capacity: usize,
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    lookups: Semaphore,
}

#[derive(Default)]
struct Entry {
    /// Locked while the directory is asked, so that one asks and the others wait.
    known: AsyncMutex<Option<Known>>,
    /// When the answer was asked for; read without waiting to decide what may be thrown out.
    asked_at: Mutex<Option<Duration>>,
}

#[derive(Clone)]
struct Known {
    asked_at: Duration,
    principal: Option<Principal>,
}

impl<P: Principals> CachedPrincipals<P> {
    /// Caches at most `capacity` keys and has at most `lookups` lookups under way.
    pub fn new(inner: P, clock: Arc<dyn Clock>, capacity: usize, lookups: usize) -> Self {
        CachedPrincipals {
            inner,
            clock,
            capacity: capacity.max(1),
            entries: Mutex::new(HashMap::new()),
            lookups: Semaphore::new(lookups.max(1)),
        }
    }

    /// How many keys are cached now.
    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// Whether no key is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, access_key_id: &str) -> Option<Arc<Entry>> {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(access_key_id) {
            return Some(Arc::clone(entry));
        }
        if entries.len() >= self.capacity {
            let now = self.clock.monotonic();
            // What has expired is worth nothing, nor is a lookup whose callers all went away before
            // the answer came.
            entries.retain(|_, entry| {
                let fresh =
                    entry.asked_at.lock().is_some_and(|at| now.saturating_sub(at) < MAX_AGE);
                fresh || Arc::strong_count(entry) > 1
            });
        }
        if entries.len() >= self.capacity {
            return None;
        }
        let entry = Arc::new(Entry::default());
        entries.insert(access_key_id.to_owned(), Arc::clone(&entry));
        Some(entry)
    }

    async fn ask(&self, access_key_id: &str) -> Result<Known, PrincipalsUnavailable> {
        let permit = self
            .lookups
            .try_acquire()
            .map_err(|_| PrincipalsUnavailable("too many lookups are under way".into()))?;
        // The age counts from before the question: what the answer says may have changed right
        // after it was read.
        let asked_at = self.clock.monotonic();
        let principal = self.inner.find(access_key_id).await?;
        drop(permit);
        Ok(Known { asked_at, principal })
    }
}

#[async_trait::async_trait]
impl<P: Principals> Principals for CachedPrincipals<P> {
    async fn find(&self, access_key_id: &str) -> Result<Option<Principal>, PrincipalsUnavailable> {
        let Some(entry) = self.entry(access_key_id) else {
            return self.ask(access_key_id).await.map(|known| known.principal);
        };
        let mut known = entry.known.lock().await;
        if let Some(known) = &*known
            && self.clock.monotonic().saturating_sub(known.asked_at) < MAX_AGE
        {
            return Ok(known.principal.clone());
        }
        match self.ask(access_key_id).await {
            Ok(fresh) => {
                *entry.asked_at.lock() = Some(fresh.asked_at);
                let principal = fresh.principal.clone();
                *known = Some(fresh);
                Ok(principal)
            }
            Err(error) => {
                self.entries.lock().remove(access_key_id);
                Err(error)
            }
        }
    }
}

#[async_trait::async_trait]
impl<P: Principals + ?Sized> Principals for Arc<P> {
    async fn find(&self, access_key_id: &str) -> Result<Option<Principal>, PrincipalsUnavailable> {
        (**self).find(access_key_id).await
    }
}

/// How callers with a signature are authenticated.
pub enum Mode {
    /// Signatures are verified.
    Verify,
    /// Any signature of the right form is taken as this principal's, whatever key it names. For
    /// `conclave dev` only, where every tool comes with made-up credentials.
    AcceptAny(Principal),
}

/// Turns a signed request into a principal.
pub struct Authenticator {
    options: Options,
    mode: Mode,
    principals: Arc<dyn Principals>,
    keys: SigningKeys,
    clock: Arc<dyn Clock>,
}

/// A request whose signature still has to be compared, because the body has not arrived yet.
pub struct Pending {
    claim: Claim,
    principal: Principal,
    verify: bool,
}

impl Authenticator {
    /// Verifies against `principals`; wrap these in [`CachedPrincipals`].
    pub fn new(
        options: Options,
        mode: Mode,
        principals: Arc<dyn Principals>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Authenticator { options, mode, principals, keys: SigningKeys::new(1_024), clock }
    }

    /// Everything that can be refused before the body is read; the payload of `request` is not
    /// looked at.
    ///
    /// # Errors
    /// The exception that AWS answers; `ServiceUnavailable` when the directory cannot be read.
    pub async fn begin(&self, request: &SignedRequest<'_>) -> Result<Pending, ApiError> {
        let claim = Claim::read(request, self.clock.now_ms(), &self.options)?;
        match &self.mode {
            Mode::AcceptAny(principal) => {
                Ok(Pending { claim, principal: principal.clone(), verify: false })
            }
            Mode::Verify => match self.principals.find(claim.access_key_id()).await {
                Ok(Some(principal)) => Ok(Pending { claim, principal, verify: true }),
                Ok(None) => Err(SignatureError::UnrecognizedClient.into()),
                Err(error) => {
                    tracing::warn!(%error, "a signed request was refused");
                    Err(ExceptionName::ServiceUnavailable
                        .because("Service is unable to handle request."))
                }
            },
        }
    }

    /// Compares the signature, now with the body.
    ///
    /// # Errors
    /// The exception that AWS answers.
    pub fn finish(
        &self,
        pending: Pending,
        request: &SignedRequest<'_>,
    ) -> Result<VerifiedPrincipal, ApiError> {
        let Pending { claim, principal, verify } = pending;
        if verify {
            let credential = Credential {
                secret_access_key: principal.secret_access_key.expose(),
                session_token: principal
                    .session_token
                    .as_ref()
                    .map(|token| token.expose().as_str()),
            };
            claim.verify(request, credential, &self.keys)?;
        }
        let arn = principal.arn();
        Ok(VerifiedPrincipal {
            arn,
            account_id: principal.account_id,
            name: principal.name,
            access_key_id: claim.access_key_id().to_owned(),
            region: claim.region().to_owned(),
            policy: principal.policy,
        })
    }
}

impl From<SignatureError> for ApiError {
    fn from(error: SignatureError) -> ApiError {
        let name = match error {
            SignatureError::MissingAuthenticationToken => {
                ExceptionName::MissingAuthenticationTokenException
            }
            SignatureError::IncompleteSignature(_) => ExceptionName::IncompleteSignatureException,
            SignatureError::InvalidSignature(_) => ExceptionName::InvalidSignatureException,
            SignatureError::UnrecognizedClient => ExceptionName::UnrecognizedClientException,
        };
        name.because(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use conclave_outbound::clock::ManualClock;

    use super::*;

    /// A directory with one key, `known`; it counts the questions and can be switched off.
    #[derive(Default)]
    struct Directory {
        asked: AtomicUsize,
        revoked: std::sync::atomic::AtomicBool,
        down: std::sync::atomic::AtomicBool,
    }

    #[async_trait::async_trait]
    impl Principals for Directory {
        async fn find(
            &self,
            access_key_id: &str,
        ) -> Result<Option<Principal>, PrincipalsUnavailable> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if self.down.load(Ordering::SeqCst) {
                return Err(PrincipalsUnavailable("no leader".into()));
            }
            let known = access_key_id == "known" && !self.revoked.load(Ordering::SeqCst);
            Ok(known.then(|| Principal {
                account_id: "000000000000".into(),
                name: "user/root".into(),
                access_key_id: access_key_id.into(),
                secret_access_key: SecretString::new("secret".into()),
                session_token: None,
                policy: Arc::new(Policy::allow_all()),
            }))
        }
    }

    fn cached(
        capacity: usize,
    ) -> (Arc<Directory>, Arc<ManualClock>, CachedPrincipals<Arc<Directory>>) {
        let directory = Arc::new(Directory::default());
        let clock = Arc::new(ManualClock::at(0));
        let cached = CachedPrincipals::new(Arc::clone(&directory), clock.clone(), capacity, 8);
        (directory, clock, cached)
    }

    #[tokio::test]
    async fn a_revoked_key_stops_working_within_a_second() {
        let (directory, clock, cached) = cached(4);
        assert!(cached.find("known").await.unwrap().is_some());
        directory.revoked.store(true, Ordering::SeqCst);
        clock.advance(Duration::from_millis(999));
        assert!(cached.find("known").await.unwrap().is_some());
        assert_eq!(directory.asked.load(Ordering::SeqCst), 1);
        clock.advance(Duration::from_millis(1));
        assert!(cached.find("known").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn requests_with_one_key_share_one_lookup_known_or_not() {
        let (directory, _clock, cached) = cached(4);
        for key in ["known", "unknown"] {
            directory.asked.store(0, Ordering::SeqCst);
            let answers = futures::future::join_all((0..50).map(|_| cached.find(key))).await;
            assert!(
                answers.iter().all(|answer| answer.as_ref().unwrap().is_some() == (key == "known"))
            );
            assert_eq!(directory.asked.load(Ordering::SeqCst), 1);
        }
    }

    #[tokio::test]
    async fn random_keys_do_not_fill_the_cache_and_known_keys_keep_working() {
        let (_directory, clock, cached) = cached(4);
        for n in 0..100 {
            assert!(cached.find(&format!("random {n}")).await.unwrap().is_none());
            assert!(cached.find("known").await.unwrap().is_some());
            assert!(cached.len() <= 4);
            clock.advance(Duration::from_millis(300));
        }
    }

    #[tokio::test]
    async fn lookups_that_nobody_waits_for_any_more_leave_no_entry_behind() {
        let (_directory, _clock, cached) = cached(4);
        for n in 0..20 {
            let key = format!("random {n}");
            let mut lookup = Box::pin(cached.find(&key));
            assert!(futures::poll!(&mut lookup).is_pending());
        }
        assert!(cached.find("known").await.unwrap().is_some());
        assert!(cached.len() <= 4);
    }

    #[tokio::test]
    async fn a_directory_that_is_down_is_not_an_unknown_key() {
        let (directory, clock, cached) = cached(4);
        assert!(cached.find("known").await.unwrap().is_some());
        directory.down.store(true, Ordering::SeqCst);
        clock.advance(MAX_AGE);
        assert!(cached.find("known").await.is_err());
        directory.down.store(false, Ordering::SeqCst);
        assert!(cached.find("known").await.unwrap().is_some());
    }

    #[test]
    fn a_denial_names_the_principal_the_action_and_the_resource() {
        let principal = |policy: &str| VerifiedPrincipal {
            account_id: "123456789012".into(),
            name: "user/alice".into(),
            arn: "arn:aws:iam::123456789012:user/alice".into(),
            access_key_id: "AKID".into(),
            region: "us-east-1".into(),
            policy: Arc::new(Policy::parse(policy).unwrap()),
        };
        let error = principal(r#"{"Statement":[]}"#).authorize("ListUsers", "*").unwrap_err();
        assert_eq!(error.code, ExceptionName::AccessDeniedException);
        assert_eq!(
            error.message,
            "User: arn:aws:iam::123456789012:user/alice is not authorized to perform: cognito-idp:ListUsers on resource: * because \
             no identity-based policy allows the cognito-idp:ListUsers action"
        );
        let error = principal(r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#)
            .authorize("ListUsers", "*")
            .unwrap_err();
        assert!(
            error
                .message
                .ends_with("on resource: * with an explicit deny in an identity-based policy")
        );
    }
}
