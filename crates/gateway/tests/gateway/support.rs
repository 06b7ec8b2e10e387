//! A gateway with fake handlers, and a client that signs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use conclave_api::{
    ApiError, ExceptionName, Message, OPERATIONS, Operation, TARGET_PREFIX, ops, types,
};
use conclave_crypto::mac;
use conclave_crypto::secret::SecretString;
use conclave_crypto::testing::SeededEntropy;
use conclave_crypto::token::Jwks;
use conclave_gateway::dispatch::{CallContext, Checks, Dispatcher, Identity};
use conclave_gateway::fronts::{Api, Connection, RequestLimits};
use conclave_gateway::gateway::Gateway;
use conclave_gateway::limits::InFlight;
use conclave_gateway::management::Readiness;
use conclave_gateway::metrics::Metrics;
use conclave_gateway::oidc::{self, IssuerMetadata, Issuers, IssuersUnavailable};
use conclave_gateway::policy::Policy;
use conclave_gateway::principal::{
    Authenticator, CachedPrincipals, Mode, Principal, Principals, PrincipalsUnavailable,
};
use conclave_gateway::sigv4::{ALGORITHM, Options};
use conclave_outbound::clock::ManualClock;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tower::ServiceExt as _;

pub const POOL: &str = "us-east-1_EXAMPLE00";
/// Wants every span and event, so that a thread without a subscriber that comes to a place in the
/// code first does not switch that place off for the tests that read the log.
static LISTENER: LazyLock<tracing::Dispatch> = LazyLock::new(|| {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(std::io::sink)
        .finish()
        .into()
});
const NOW_MS: i64 = 1_767_268_800_000;
const DATE: &str = "20260101T120000Z";

/// Two principals of one account: `root` may do everything, `reader` may describe one pool.
struct Directory;

pub fn principal(access_key_id: &str) -> Option<Principal> {
    let policy = match access_key_id {
        "root" => Policy::allow_all(),
        "reader" => Policy::parse(&format!(
            r#"{{"Statement":{{"Effect":"Allow","Action":"cognito-idp:Describe*",
                "Resource":"arn:aws:cognito-idp:us-east-1:123456789012:userpool/{POOL}"}}}}"#
        ))
        .unwrap(),
        _ => return None,
    };
    Some(Principal {
        account_id: "123456789012".into(),
        name: format!("user/{access_key_id}"),
        access_key_id: access_key_id.into(),
        secret_access_key: SecretString::new("secret-access-key".into()),
        session_token: None,
        policy: Arc::new(policy),
    })
}

#[async_trait::async_trait]
impl Principals for Directory {
    async fn find(&self, access_key_id: &str) -> Result<Option<Principal>, PrincipalsUnavailable> {
        if access_key_id == "down" {
            return Err(PrincipalsUnavailable("no leader".into()));
        }
        Ok(principal(access_key_id))
    }
}

struct Ready;

#[async_trait::async_trait]
impl Readiness for Ready {
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

struct NoIssuers;

#[async_trait::async_trait]
impl Issuers for NoIssuers {
    async fn jwks(&self, _: &str) -> Result<Option<Jwks>, IssuersUnavailable> {
        Ok(Some(Jwks::default()))
    }

    async fn metadata(&self, _: &str) -> Result<Option<IssuerMetadata>, IssuersUnavailable> {
        Ok(None)
    }
}

/// How one test differs from the others.
pub struct Setup {
    pub mode: Mode,
    pub checks: Checks,
    pub in_flight: usize,
    pub limits: RequestLimits,
    pub base_paths: Vec<String>,
    pub dispatcher: Dispatcher,
}

/// The gateway under test, and what it did.
#[derive(Clone)]
pub struct World {
    pub gateway: Gateway,
    pub metrics: Metrics,
    /// The operations whose handler was reached.
    pub reached: Arc<Mutex<Vec<String>>>,
    /// Lets the slow handler (`GlobalSignOut`) end.
    pub release: Arc<Notify>,
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Setup)) -> World {
        LazyLock::force(&LISTENER);
        let reached = Arc::new(Mutex::new(Vec::new()));
        let release = Arc::new(Notify::new());
        let mut setup = Setup {
            mode: Mode::Verify,
            checks: Checks::default(),
            in_flight: 100,
            limits: RequestLimits::default(),
            base_paths: vec!["/base/".into()],
            dispatcher: handlers(&reached, &release),
        };
        change(&mut setup);
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let metrics = Metrics::new("0.0.0", "test");
        let principals = Arc::new(CachedPrincipals::new(Directory, clock.clone(), 16, 4));
        let api = Api {
            dispatcher: setup.dispatcher,
            authenticator: Authenticator::new(
                Options::default(),
                setup.mode,
                principals,
                clock.clone(),
            ),
            checks: setup.checks,
            in_flight: InFlight::new(setup.in_flight),
            limits: setup.limits,
            metrics: metrics.clone(),
            audit: None,
            entropy: Arc::new(SeededEntropy::new(7)),
            clock: clock.clone(),
        };
        let pages: Router = oidc::router(Arc::new(NoIssuers), Duration::from_secs(60));
        let gateway =
            Gateway::new(Arc::new(api), setup.base_paths, pages, Arc::new(Ready)).unwrap();
        World { gateway, metrics, reached, release }
    }

    /// Waits until the slow handler is at this point.
    pub async fn slow_handler(&self, point: &str) {
        let wanted = format!("GlobalSignOut {point}");
        while !self.reached.lock().contains(&wanted) {
            tokio::task::yield_now().await;
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        Answer::read(self.gateway.clone().oneshot(request).await.unwrap()).await
    }
}

/// Every operation answers an empty output, but for those with a part in a test.
fn handlers(reached: &Arc<Mutex<Vec<String>>>, release: &Arc<Notify>) -> Dispatcher {
    let mut dispatcher = Dispatcher::new();
    for operation in OPERATIONS {
        let reached = Arc::clone(reached);
        dispatcher = dispatcher.on_erased(
            operation.name,
            Arc::new(move |context: CallContext, _: Box<dyn Message>| {
                let reached = Arc::clone(&reached);
                Box::pin(async move {
                    reached.lock().push(context.operation.name.to_owned());
                    Ok(context.operation.new_output())
                })
            }),
        );
    }
    let release = Arc::clone(release);
    let reached = Arc::clone(reached);
    dispatcher
        .on::<ops::ListUserPools, _, _>(
            async |context: CallContext, input: types::ListUserPoolsRequest| {
                let caller = match &context.caller {
                    Identity::Principal(principal) => {
                        format!("{} {}", principal.arn, principal.region)
                    }
                    Identity::Anonymous => "nobody".into(),
                };
                let pool = types::UserPoolDescriptionType {
                    name: Some(format!(
                        "{caller} from {:?} wants {:?}",
                        context.peer, input.max_results
                    )),
                    ..Default::default()
                };
                Ok(types::ListUserPoolsResponse { user_pools: vec![pool], ..Default::default() })
            },
        )
        .on::<ops::GetUser, _, _>(async |_, _| -> Result<types::GetUserResponse, ApiError> {
            Err(ExceptionName::NotAuthorizedException.because("Invalid Access Token"))
        })
        .on::<ops::ForgotPassword, _, _>(
            async |_,
                   input: types::ForgotPasswordRequest|
                   -> Result<types::ForgotPasswordResponse, ApiError> {
                panic!("canary {:?}", input.username)
            },
        )
        .on::<ops::GlobalSignOut, _, _>(move |_, _| {
            let (release, reached) = (Arc::clone(&release), Arc::clone(&reached));
            async move {
                reached.lock().push("GlobalSignOut started".into());
                release.notified().await;
                reached.lock().push("GlobalSignOut ended".into());
                Ok(types::GlobalSignOutResponse::default())
            }
        })
}

/// An answer, with its body read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

impl Answer {
    pub async fn read(response: Response<Body>) -> Answer {
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: collected.to_bytes().to_vec(),
            trailers,
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The exception of an AWS JSON answer; header and body have to agree.
    pub fn exception(&self) -> String {
        let name = self.json()["__type"].as_str().unwrap().to_owned();
        assert_eq!(self.header("x-amzn-errortype"), format!("{name}:"));
        name
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }

    /// The gRPC status, wherever it is.
    pub fn grpc_status(&self) -> i32 {
        let value =
            self.headers.get("grpc-status").or_else(|| self.trailers.get("grpc-status")).unwrap();
        value.to_str().unwrap().parse().unwrap()
    }
}

pub fn private() -> Connection {
    Connection { peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000), tls: false }
}

pub fn public() -> Connection {
    Connection {
        peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40_000),
        tls: false,
    }
}

/// An AWS JSON request without a signature.
pub fn unsigned(operation: &str, body: &str) -> Request<Body> {
    Request::post("/")
        .header("host", "id.example.com")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("{TARGET_PREFIX}.{operation}"))
        .extension(private())
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// An AWS JSON request signed by `root`.
pub fn signed(operation: &str, body: &str) -> Request<Body> {
    signed_by("root", operation, body)
}

pub fn signed_by(access_key_id: &str, operation: &str, body: &str) -> Request<Body> {
    let mut request = unsigned(operation, body);
    let hash = hex::encode(mac::sha256(&[body.as_bytes()]));
    sign(&mut request, access_key_id, &hash);
    request
}

/// Signs every header that the request has now.
pub fn sign(request: &mut Request<Body>, access_key_id: &str, payload_hash: &str) {
    request.headers_mut().insert("x-amz-date", DATE.parse().unwrap());
    let mut names: Vec<&str> = request.headers().keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let mut canonical = format!("{}\n{}\n\n", request.method(), request.uri().path());
    for name in &names {
        canonical.push_str(&format!("{name}:{}\n", request.headers()[*name].to_str().unwrap()));
    }
    let names = names.join(";");
    canonical.push_str(&format!("\n{names}\n{payload_hash}"));
    let scope = "20260101/us-east-1/cognito-idp/aws4_request";
    let to_sign = format!(
        "{ALGORITHM}\n{DATE}\n{scope}\n{}",
        hex::encode(mac::sha256(&[canonical.as_bytes()]))
    );
    let mut key = b"AWS4secret-access-key".to_vec();
    for part in ["20260101", "us-east-1", "cognito-idp", "aws4_request"] {
        key = mac::hmac_sha256(&key, &[part.as_bytes()]).to_vec();
    }
    let signature = hex::encode(mac::hmac_sha256(&key, &[to_sign.as_bytes()]));
    let value = format!(
        "{ALGORITHM} Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    request.headers_mut().insert("authorization", value.parse().unwrap());
}

/// A gRPC request without a signature.
pub fn grpc(operation: &Operation, message: &[u8], connection: Connection) -> Request<Body> {
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(message);
    Request::post(operation.path)
        .header("host", "id.example.com")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .extension(connection)
        .body(Body::from(body))
        .unwrap()
}

pub fn operation(name: &str) -> &'static Operation {
    Operation::by_name(name).unwrap()
}
