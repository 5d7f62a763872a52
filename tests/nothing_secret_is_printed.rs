//! Every public type, error, answer, log event and metric around a sentinel: it is found nowhere.

#![cfg(all(
    feature = "axum",
    feature = "client",
    feature = "dpop",
    feature = "introspection",
    feature = "mcp",
    feature = "metrics",
    feature = "mtls",
    feature = "redis",
    feature = "reqwest",
    feature = "test-util",
    feature = "tracing"
))]

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fmt::{Debug, Display};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::{Method, Request, Response};
use metrics_util::debugging::DebuggingRecorder;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::answer::{DefaultRenderer, Renderer};
use tower_bearer::client::{
    Assertion, AssertionAlgorithm, AttachTokenLayer, BearerAssertion, CallerToken, ClientAuth,
    Grant, OnBehalfOf, ReplayBody, SecretError, SecretErrorKind, SecretFn, SecretFuture,
    SecretProvider, SecretSource, SendError, StoreError, StoreErrorKind, TokenClient,
    TokenExchange, WorkloadToken,
};
use tower_bearer::introspection::{Introspection, IntrospectionAuth};
use tower_bearer::issuers::{Issuer, Readiness, ResolveError, Tenant, Tenants};
use tower_bearer::jose::HmacAlgorithm;
use tower_bearer::jwks::{Jwks, Snapshot, Start};
use tower_bearer::mcp::{self, McpGuardLayer, OperationTable, RequestBody};
use tower_bearer::metadata::MetadataFault;
use tower_bearer::middleware::{AnyOf, Authorized, DeadlineError, RecentAuth, TokenRejection};
use tower_bearer::testing::{
    Endpoint, Fault, IssuerTransport, ManualClock, ScriptedAnswer, ScriptedTransport, TestClient,
    TestIssuer, TestKey,
};
use tower_bearer::token::{ClientIdSource, ScopeSource};
use tower_bearer::transport::{
    Limits, ReqwestTransport, ServiceBody, ServiceTransport, Transport, TransportError,
    TransportErrorKind,
};
use tower_bearer::{
    Access, AccessToken, BearerAuthLayer, Implications, KeySource, NoClaims, Refusal, RequireScope,
    Requirement, RouteTable, ScopeGuardLayer, Secret, SystemClock, UnixTime, Validator, scopes,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// In base64url too it is what it is.
const SENTINEL: &str = "SentinelSentinelSentinel";

/// Types whose `Debug` holds nothing that could be secret, by what they are made of.
const HARMLESS: &[&str] = &[
    "Absent",
    "Actor",
    "Evidence",
    // tests/explain.rs prints them.
    "Explanation",
    "InForce",
    "Outcome",
    "Step",
    // tests/route_check.rs prints them: no token is kept in them.
    "OpenApi",
    "RouteCheck",
    "RouteEntry",
    "RouteProblem",
    "RouteReport",
    "SentToken",
    // Names without content.
    "Algorithm",
    "AnswerFault",
    "AnyOf",
    "AssertionAlgorithm",
    "AssertionType",
    "AuthMethod",
    "AwsSecretsManager",
    "Backend",
    "BasicEncoding",
    "DeadlineBody",
    "DeadlineFuture",
    "Discovery",
    "DiscoveryFault",
    // tests/client/dpop.rs prints it.
    "DpopKey",
    "EmptySet",
    "Endpoint",
    "ForwardedFields",
    "Health",
    "IssuerName",
    "IssuerStatus",
    "RequireIssuer",
    "Resolver",
    "Tenant",
    "HmacAlgorithm",
    "IgnoredReason",
    "IntrospectionErrorKind",
    "UnreadableDetail",
    "RequiredClaim",
    "ScopeName",
    "SecretErrorKind",
    // tests/client/vault.rs prints them.
    "Vault",
    "VaultBuilder",
    "VaultSecret",
    "State",
    "StreamDeadline",
    "StreamDeadlineLayer",
    "StoreErrorKind",
    // Shown as a part of another, which is printed.
    "AssertionAudience",
    "Claims",
    "Counters",
    "Detail",
    "ErrorCode",
    "Excerpt",
    "Excerpts",
    "FetchErrorKind",
    "Gate",
    "KeyStatus",
    "Conditions",
    "ConditionsBuilder",
    "Authorized",
    "RecentAuth",
    "UnreadBodies",
    "UnreadBody",
    "UnreadBodyLayer",
    "WebSocketToken",
    "WebSocketTokenLayer",
    "MetadataBody",
    "MetadataService",
    "ResourceMetadata",
    "ResourceMetadataBuilder",
    "RefusalContext",
    "TokenErrorKind",
    "TransportErrorKind",
    "OnBehalfOf",
    "TokenExchange",
    "TokenType",
    // Traits.
    "AssertionSigner",
    "Clock",
    "Renderer",
    "ReplayStore",
    "RequiredScopes",
    "SecretProvider",
    "TokenStore",
    "Transport",
];

scopes! {
    Read = "api:read";
}

/// What was printed, and by which types.
#[derive(Default)]
struct Printed {
    text: String,
    types: BTreeSet<String>,
    /// The names of those that are errors.
    errors: BTreeSet<String>,
}

impl Printed {
    fn debug<T: Debug>(&mut self, value: &T) {
        self.text.push_str(&format!("{value:?}\n{value:#?}\n"));
        let name = std::any::type_name::<T>();
        let name = name.split('<').next().unwrap().rsplit("::").next().unwrap();
        self.types.insert(name.to_owned());
    }

    fn both<T: Debug + Display>(&mut self, value: &T) {
        self.text.push_str(&format!("{value}\n"));
        self.debug(value);
    }

    /// Prints an error. Its `Debug`, which `main` prints, must be its sentence with its causes.
    #[track_caller]
    fn error<E: std::error::Error>(&mut self, error: &E) {
        self.both(error);
        let mut sentence = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            sentence.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        assert_eq!(format!("{error:?}"), sentence);
        let name = std::any::type_name::<E>().split('<').next().unwrap_or_default();
        self.errors.insert(name.rsplit("::").next().unwrap_or_default().to_owned());
        let mut source = error.source();
        while let Some(inner) = source {
            self.text.push_str(&format!("{inner}\n{inner:?}\n"));
            source = inner.source();
        }
    }
}

/// Writes down every event and span, of every crate, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.lock().unwrap().push_str(&format!("{field}={value:?} "));
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push_str(event.metadata().target());
        event.record(&mut self.clone());
        self.0.lock().unwrap().push('\n');
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The names of all public types of the crate.
fn public_types() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        for line in fs::read_to_string(path).unwrap().lines() {
            let mut words = line.trim_start().split(|c: char| !c.is_alphanumeric());
            let declared = (words.next(), words.next(), words.next());
            if let (Some("pub"), Some("struct" | "enum" | "trait"), Some(name)) = declared {
                names.insert(name.to_owned());
            }
            names.remove(""); // a macro's
        }
    }
    names
}

/// Errors that others print: the service behind a layer, and `tests/conditions.rs`.
const ELSEWHERE: [&str; 2] = ["Shortfall", "UnreadableDetail"];

/// The names of the library's public types that are errors, by its source.
fn public_errors() -> BTreeSet<String> {
    let mut errors = BTreeSet::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let name = |text: &str| {
            let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            name.to_owned()
        };
        errors.extend(text.split("Error for ").skip(1).map(name));
        for derived in text.split("thiserror::Error)]").skip(1) {
            let declared = ["pub struct ", "pub enum "];
            let found = declared.iter().filter_map(|it| Some((derived.find(it)?, it.len()))).min();
            errors.extend(found.map(|(at, len)| name(&derived[at + len..])));
        }
    }
    errors.intersection(&public_types()).cloned().collect()
}

fn answer(_: Request<String>) -> std::future::Ready<Result<Response<String>, std::io::Error>> {
    std::future::ready(Ok(Response::new("hello".to_owned())))
}

/// Sends a request with these `Authorization` fields through the layer, and prints all that there
/// is about it.
async fn send(
    printed: &mut Printed,
    layer: &BearerAuthLayer,
    path: &str,
    fields: &[String],
) -> u16 {
    let inner = {
        let seen = Arc::new(Mutex::new(String::new()));
        service_fn(move |request: Request<String>| {
            let (mut parts, body) = request.into_parts();
            let mut text = format!("{:?} {parts:?} {parts:#?}", parts.headers);
            let seen = Arc::clone(&seen);
            async move {
                let token = AccessToken::<NoClaims>::from_request_parts(&mut parts, &()).await;
                let scoped = RequireScope::<Read>::from_request_parts(&mut parts, &()).await;
                let asking = Authorized::<NoClaims>::from_request_parts(&mut parts, &()).await;
                let recent = RecentAuth::<1>::from_request_parts(&mut parts, &()).await;
                text.push_str(&format!("{token:?} {scoped:?} {asking:?} {asking:#?} {recent:?}"));
                seen.lock().unwrap().push_str(&text);
                let mut response = answer(Request::new(body)).await?;
                response.extensions_mut().insert(Inside(text, token.ok(), scoped.ok()));
                Ok::<_, std::io::Error>(response)
            }
        })
    };
    let mut service = layer.layer(inner);
    printed.debug(&layer.layer(PrintableService));
    let mut request = Request::builder().uri(path);
    for field in fields {
        request = request.header("authorization", field);
    }
    let service = service.ready().await.unwrap();
    let future = service.call(request.body(String::new()).unwrap());
    printed.debug(&future);
    let response = future.await.unwrap();
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        printed.error(refusal);
        printed.text.push_str(refusal.code());
        match refusal {
            Refusal::Rejection(rejection) => {
                printed.error(rejection);
                printed.debug(&rejection.kind());
            }
            Refusal::Unavailable(unavailable) => {
                printed.error(unavailable);
                printed.debug(&unavailable.reason());
            }
            Refusal::Misconfigured(misconfigured) => printed.error(misconfigured),
            _ => unreachable!(),
        }
    }
    if let Some(Inside(text, token, scoped)) = response.extensions().get::<Inside>() {
        printed.text.push_str(text);
        printed.debug(token.as_ref().unwrap());
        printed.debug(&token.as_ref().unwrap().identity().unwrap());
        if let Some(scoped) = scoped {
            printed.debug(scoped);
        }
    }
    printed.text.push_str(&format!("{:?}", response.headers()));
    let status = response.status().as_u16();
    let (_, body) = response.into_parts();
    printed.debug(&body);
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    printed.text.push_str(&String::from_utf8_lossy(&body));
    status
}

#[derive(Clone)]
struct Inside(String, Option<AccessToken>, Option<RequireScope<Read>>);

#[derive(Clone, Debug)]
struct PrintableService;

impl Service<Request<ReplayBody<String>>> for PrintableService {
    type Response = Response<String>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Response<String>, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<ReplayBody<String>>) -> Self::Future {
        answer(Request::new(String::new()))
    }
}

/// Calls a tool that asks for more, and prints all that there is about it.
async fn mcp_guard(printed: &mut Printed, layer: &BearerAuthLayer, token: &str) {
    let builder = OperationTable::builder(Access::token()).tool("a", Access::token());
    printed.debug(&builder);
    let operations = builder.build().unwrap();
    printed.debug(&operations);
    let key = Secret::new(SENTINEL.repeat(2).into_bytes());
    let guard = McpGuardLayer::new(operations).unwrap().session_key(key).unwrap();
    printed.debug(&guard);
    printed.debug(&guard.layer(PrintableService));
    let seen = Arc::new(Mutex::new(String::new()));
    let text = Arc::clone(&seen);
    let server = service_fn(move |request: Request<RequestBody<http_body_util::Full<Bytes>>>| {
        let (parts, body) = request.into_parts();
        let mut printed = Printed::default();
        printed.debug(&body);
        printed.error(&mcp::require(&parts, &Requirement::scope("more").unwrap()).unwrap_err());
        text.lock().unwrap().push_str(&printed.text);
        std::future::ready(Ok::<_, std::io::Error>(Response::new(String::new())))
    });
    let params = format!(r#"{{"name":"a","arguments":{{"secret":"{SENTINEL}"}}}}"#);
    let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let request = Request::post("/mcp")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(http_body_util::Full::from(message))
        .unwrap();
    let mut service = layer.layer(guard.layer(server.clone()));
    assert_eq!(service.call(request).await.unwrap().status(), 403);
    printed.text.push_str(&seen.lock().unwrap());
    let unasked = Request::get("/").body(http_body_util::Full::<Bytes>::default()).unwrap();
    printed.debug(&guard.layer(server).call(unasked));
    printed.types.extend(["RequestBody", "Shortfall"].map(str::to_owned));
}

/// Opaque tokens, this service's own credentials, and answers that hold the sentinel.
async fn introspection(printed: &mut Printed, issuer: &TestIssuer) {
    let url = format!("{}?key={SENTINEL}", issuer.introspection_endpoint());
    let own = IntrospectionAuth::bearer(SENTINEL);
    printed.debug(&own);
    let asking = Introspection::endpoint(url, own);
    printed.debug(&asking);
    printed.debug(&KeySource::from(asking.clone()));
    let one = Issuer::new(issuer.issuer(), issuer.audience()).introspection(asking.clone());
    printed.debug(&Validator::issuers([one]).build().unwrap());
    let builder = Validator::builder(issuer.issuer(), issuer.audience()).introspection(asking);
    printed.debug(&builder);
    let validator = builder.build().unwrap();
    let layer = BearerAuthLayer::new(validator.clone());
    let field = format!("Bearer {SENTINEL}.opaque");
    for fault in [
        None,
        Some(Fault::json(format!(r#"{{"active":"{SENTINEL}"}}"#))),
        Some(Fault::json(format!(r#"{{"active":true,"exp":"{SENTINEL}"}}"#))),
        Some(Fault::login_page()),
    ] {
        if let Some(fault) = fault {
            issuer.inject(Endpoint::Introspection, fault);
        }
        assert_eq!(send(printed, &layer, "/", std::slice::from_ref(&field)).await, 503);
    }
    issuer.clear_faults();
    printed.debug(&validator);
    printed.debug(&validator.introspection_status(issuer.issuer()).unwrap());
}

/// Gets a token on a caller's behalf, and prints all that there is about it.
async fn on_behalf(printed: &mut Printed, issuer: &TestIssuer) {
    let validator = Validator::builder(issuer.issuer(), issuer.audience()).build().unwrap();
    validator.ready(Duration::from_secs(5)).await.unwrap();
    let layer = BearerAuthLayer::new(validator).keep_for_exchange();
    let seen = Arc::new(Mutex::new(None));
    let place = Arc::clone(&seen);
    let service = layer.layer(service_fn(move |request: Request<String>| {
        *place.lock().unwrap() = CallerToken::from_extensions(request.extensions());
        std::future::ready(Ok::<_, std::io::Error>(Response::new(format!("{request:?}"))))
    }));
    let token = issuer.token().subject(SENTINEL).sign();
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let answer = service.oneshot(request.body(String::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    printed.text.push_str(&String::from_utf8_lossy(&body));
    let caller = seen.lock().unwrap().take().unwrap();
    printed.debug(&caller);
    let client = TokenClient::builder().transport(issuer.transport()).build().unwrap();
    for secret in [SENTINEL, "wrong"] {
        let grant = Grant::discover(issuer.issuer(), ClientAuth::basic("client", secret));
        let how = OnBehalfOf::token_exchange(TokenExchange::new());
        let target = client.on_behalf(grant.allow_loopback_http(), how).unwrap();
        printed.debug(&target);
        match target.token(&caller).await {
            Ok(token) => printed.debug(&token),
            Err(error) => printed.error(&error),
        }
    }
}

/// Gets tokens, and prints all that there is about it.
async fn token_client(printed: &mut Printed, issuer: &TestIssuer) {
    let assertion = Assertion::new(AssertionAlgorithm::HS256, SENTINEL.repeat(2));
    printed.debug(&assertion);
    printed.debug(&SecretSource::from(SENTINEL));
    // It has the letters of a JWT, and isn't one.
    let secret = async || Ok(Secret::new(format!("{SENTINEL}.{SENTINEL}.{SENTINEL}")));
    printed.debug(&BearerAssertion::from(Assertion::new(AssertionAlgorithm::ES256, SENTINEL)));
    on_behalf(printed, issuer).await;
    let function = SecretFn::new(secret);
    printed.debug(&function);
    let workload = WorkloadToken::new(function);
    printed.debug(&workload);
    let signed = issuer.token().subject(SENTINEL).sign();
    let signed =
        WorkloadToken::from_fn(move || std::future::ready(Ok(Secret::new(signed.clone()))));
    let builder = TokenClient::builder().transport(issuer.transport());
    printed.debug(&builder);
    let client = builder.build().unwrap();
    printed.debug(&client);
    for auth in [
        ClientAuth::basic("client", SENTINEL),
        ClientAuth::body("client", SENTINEL),
        ClientAuth::client_secret_jwt("client", assertion),
        ClientAuth::workload("client", workload),
        ClientAuth::workload("client", signed),
        ClientAuth::basic("client", format!("not {SENTINEL}")),
    ] {
        printed.debug(&auth);
        let builder = Grant::discover(issuer.issuer(), auth).allow_loopback_http();
        printed.debug(&builder);
        let grant = builder.build().unwrap();
        printed.debug(&grant);
        let source = client.source(&grant);
        printed.debug(&source);
        let got = source.token().await;
        printed.debug(&source.health());
        match got {
            Ok(token) => printed.debug(&token),
            Err(error) => {
                printed.error(&error);
                printed.error(&SendError::Token(error));
            }
        }
        let layer = AttachTokenLayer::new(source, ["https://api.example"]).unwrap();
        printed.debug(&layer);
        let mut service = layer.layer(PrintableService);
        printed.debug(&service);
        let request = |uri: &str| Request::get(uri).body(SENTINEL.to_owned()).unwrap();
        printed.debug(&service.call(request(&format!("https://api.example/{SENTINEL}"))));
        let mut misled = request("https://api.example/");
        let host = format!("{SENTINEL}.example").parse().unwrap();
        misled.headers_mut().insert(http::header::HOST, host);
        let misled = service.call(misled).await.unwrap_err();
        printed.error(&misled);
        let SendError::Host(misled) = misled else { panic!("{misled}") };
        printed.error(&misled);
        // The host is named: an operator wants to know where the request went.
        let elsewhere =
            format!("https://{SENTINEL}:{SENTINEL}@elsewhere.example/{SENTINEL}?{SENTINEL}");
        let refused = service.call(request(&elsewhere)).await;
        let refused = refused.unwrap_err();
        printed.error(&refused);
        let SendError::Origin(refused) = refused else { panic!("{refused}") };
        printed.error(&refused);
    }
    let service = service_fn(|request: Request<ReplayBody<String>>| {
        let (parts, body) = request.into_parts();
        std::future::ready(Ok::<_, std::io::Error>(Response::new((
            format!("{parts:?} {body:?}"),
            body,
        ))))
    });
    let grant = Grant::discover(issuer.issuer(), ClientAuth::basic("client", SENTINEL));
    let source = client.source(&grant.allow_loopback_http().build().unwrap());
    let layer = AttachTokenLayer::new(source, ["https://api.example"]).unwrap();
    let request = Request::get("https://api.example/").body(SENTINEL.to_owned()).unwrap();
    let (text, body) = layer.layer(service).oneshot(request).await.unwrap().into_body();
    printed.text.push_str(&text);
    printed.debug(&body);
    printed.error(&SecretError::new(SecretErrorKind::Other));
    printed.error(&StoreError::new(StoreErrorKind::Other));
    errors_of_a_server_that_repeats_all(printed).await;
    // Inside of SendError, where it was printed.
    printed.types.insert("OriginRefused".into());
}

/// Prints the errors of a server that says the secret where other words are expected.
async fn errors_of_a_server_that_hides_the_secret(printed: &mut Printed) {
    let metadata = serde_json::json!({
        "issuer": "https://issuer.example",
        "token_endpoint": "https://issuer.example/token",
        "token_endpoint_auth_methods_supported": [SENTINEL],
    });
    let answers = [
        ScriptedAnswer::json("{}").header("content-encoding", SENTINEL),
        ScriptedAnswer::json("{}").header("content-encoding", &format!("utf-8{SENTINEL}")),
        ScriptedAnswer::status(http::StatusCode::UNAUTHORIZED)
            .header("www-authenticate", &format!("Basic realm=\"{SENTINEL}\"")),
        ScriptedAnswer::status(http::StatusCode::FOUND).header("location", SENTINEL),
        ScriptedAnswer::status(http::StatusCode::SERVICE_UNAVAILABLE)
            .header("retry-after", SENTINEL),
        ScriptedAnswer::json(SENTINEL),
        ScriptedAnswer::json(format!("{{\"{SENTINEL}\":1}}")),
        ScriptedAnswer::json(format!("{{\"error\":[\"{SENTINEL}\"]}}")),
        ScriptedAnswer::json(format!("{{\"error\":\"x\",\"error_uri\":\"{SENTINEL}\"}}")),
        ScriptedAnswer::json(format!("{{\"access_token\":\"t\",\"token_type\":\"{SENTINEL}\"}}")),
        ScriptedAnswer::json(metadata.to_string()),
    ];
    for (at, answer) in answers.into_iter().enumerate() {
        let scripted = ScriptedTransport::new();
        scripted.push(answer);
        let client = TokenClient::builder().transport(scripted).build().unwrap();
        let auth = ClientAuth::basic("client", SENTINEL);
        let grant = match at {
            10 => Grant::discover("https://issuer.example", auth),
            _ => Grant::endpoint("https://issuer.example/token", auth),
        };
        printed.error(&client.token(&grant.build().unwrap()).await.unwrap_err());
    }
}

/// Prints the errors of a server that repeats what it was sent, in a way of its own each time.
async fn errors_of_a_server_that_repeats_all(printed: &mut Printed) {
    let hex = || SENTINEL.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let spaced = || SENTINEL.chars().map(|c| format!("{c} ")).collect::<String>();
    for words in [SENTINEL.to_owned(), SENTINEL[1..].to_owned(), hex(), spaced()] {
        let scripted = ScriptedTransport::new();
        scripted.push(ScriptedAnswer::json(
            serde_json::json!({ "error": words, "error_description": words }).to_string(),
        ));
        let client = TokenClient::builder().transport(scripted).build().unwrap();
        let url = format!("https://issuer.example/token?key={SENTINEL}");
        let key = format!("-----BEGIN {SENTINEL}-----\n{SENTINEL}\n-----END {SENTINEL}-----");
        let grant = Grant::endpoint(&url, ClientAuth::body("client", "another-secret"))
            .parameter("key", SENTINEL)
            .tenant("tenant");
        printed.debug(&grant);
        let grant = grant.build().unwrap();
        let error = client.token(&grant).await.unwrap_err();
        printed.error(&error);
        let shown = format!("{error:?}");
        assert!(shown.contains("issuer.example") && !shown.contains(&words), "{shown}");
        let assertion = Assertion::new(AssertionAlgorithm::ES256, Provided(key));
        let auth = ClientAuth::private_key_jwt("client", assertion.key_id("k"));
        let grant = Grant::endpoint(&url, auth).issuer("https://issuer.example").build().unwrap();
        printed.error(&client.token(&grant).await.unwrap_err());
        let auth = ClientAuth::basic("client", Provided(format!("{SENTINEL}\n\n")));
        let grant = Grant::endpoint(&url, auth).build().unwrap();
        printed.error(&client.token(&grant).await.unwrap_err());
        let auth = ClientAuth::basic("client", format!("{SENTINEL}\n\n"));
        printed.error(&Grant::endpoint(&url, auth).build().unwrap_err());
    }
}

struct Provided(String);

impl SecretProvider for Provided {
    fn secret(&self) -> SecretFuture<'_> {
        Box::pin(async { Ok(Secret::new(&*self.0)) })
    }
}

#[tokio::test]
async fn a_sentinel_is_found_nowhere() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let mut printed = Printed::default();

    let client = TestClient::secret("client", SENTINEL);
    printed.debug(&client);
    let builder = TestIssuer::builder().client(client);
    printed.debug(&builder);
    let issuer = builder.start().await.unwrap();
    printed.debug(&issuer);
    printed.debug(&issuer.token()); // the claims of a token to be made are no secret
    printed.debug(&issuer.signing_key());
    printed.debug(&TestKey::generate(tower_bearer::jose::Algorithm::ES256));
    printed.debug(&issuer.counters());
    printed.debug(&Fault::garbage());

    let jwks = Jwks::discover(issuer.issuer());
    printed.debug(&jwks);
    let jwks = jwks.build().unwrap();
    jwks.ready(Duration::from_secs(10)).await.unwrap();
    printed.debug(&jwks);
    printed.debug(&jwks.status());
    printed.debug(&KeySource::from(jwks.clone()));
    let snapshot = jwks.snapshot().unwrap();
    printed.debug(&snapshot);
    printed.debug(&Start::Seeded(Snapshot::from_json(&snapshot.to_json()).unwrap()));

    let builder = Validator::builder(issuer.issuer(), issuer.audience());
    printed.debug(&builder);
    let validator = builder.keys(jwks).build().unwrap();
    printed.debug(&validator);
    let routes = RouteTable::builder()
        .route(Method::GET, "/read", Access::scope("api:read"))
        .route(Method::GET, "/other", Access::scope("api:other"));
    printed.debug(&routes);
    let routes = routes.build().unwrap();
    printed.debug(&routes);
    printed.debug(&Access::public());
    let layer = BearerAuthLayer::new(validator.clone()).routes(routes).verbose_errors(true);
    printed.debug(&layer);

    let mint = || issuer.token().subject(SENTINEL).client_id(SENTINEL).scope("api:read");
    let valid = mint().claim("secret", SENTINEL).claim("jti", SENTINEL).sign();
    let tokens = [
        (200, valid.clone()),
        (401, mint().expired_for(Duration::from_secs(3600)).sign()),
        (401, mint().not_before_in(Duration::from_secs(3600)).sign()),
        (401, mint().wrong_signature().sign()),
        (401, mint().without_claim("exp").sign()),
        (401, mint().claim("aud", "https://elsewhere.example").sign()),
        (401, mint().claim("iss", "https://elsewhere.example").sign()),
        (401, mint().claim("at_hash", SENTINEL).sign()),
        (401, mint().claim("exp", SENTINEL).sign()),
        (401, mint().alg("none").sign()),
        (401, mint().kid("unknown").sign()),
        (401, mint().no_kid().wrong_signature().sign()),
        (401, SENTINEL.to_owned()),
        (401, format!("{SENTINEL}.{SENTINEL}.{SENTINEL}")),
        (401, format!("{SENTINEL}.{SENTINEL}.{SENTINEL}.{SENTINEL}.{SENTINEL}")),
        (400, format!("{SENTINEL}\"")),
        (400, format!("{SENTINEL} {SENTINEL}")),
    ];
    for (expected, token) in &tokens {
        let status = send(&mut printed, &layer, "/read", &[format!("Bearer {token}")]).await;
        assert_eq!(status, *expected, "{token:.40}");
        if let Err(refusal) = validator.validate(token).await {
            printed.error(&refusal);
        }
    }
    let field = format!("Bearer {valid}");
    assert_eq!(send(&mut printed, &layer, "/other", std::slice::from_ref(&field)).await, 403);
    assert_eq!(send(&mut printed, &layer, "/read", &[field.clone(), field.clone()]).await, 400);
    assert_eq!(send(&mut printed, &layer, "//read", std::slice::from_ref(&field)).await, 400);
    assert_eq!(send(&mut printed, &layer, "/read", &[format!("Basic {SENTINEL}")]).await, 401);
    mcp_guard(&mut printed, &layer, &valid).await;

    // An issuer whose answers hold the sentinel, and fail.
    let garbage = Fault::json(format!("{{\"keys\":\"{SENTINEL}\"}}"));
    issuer.inject(Endpoint::Jwks, garbage);
    let cold = Jwks::url(issuer.issuer(), issuer.jwks_uri()).build().unwrap();
    let cold = Validator::builder(issuer.issuer(), issuer.audience()).keys(cold).build().unwrap();
    let unavailable = cold.ready(Duration::from_millis(500)).await.unwrap_err();
    printed.error(&unavailable);
    printed.error(unavailable.cause().unwrap());
    printed.debug(&cold.jwks().unwrap().status());
    let layer = BearerAuthLayer::new(cold);
    assert_eq!(send(&mut printed, &layer, "/", std::slice::from_ref(&field)).await, 503);

    // A server that can't be reached, at an address that holds the sentinel; no port below 2 listens.
    let address = format!("http://127.0.0.1:1/{SENTINEL}?key={SENTINEL}");
    let gone = Jwks::url(issuer.issuer(), &address).build().unwrap();
    let error = gone.refresh().await.unwrap_err();
    assert!(error.source().is_some(), "{error:?} has no cause");
    printed.error(&error);
    let gone = Validator::builder(issuer.issuer(), issuer.audience()).keys(gone).build().unwrap();
    let Refusal::Unavailable(unavailable) = gone.validate(&valid).await.unwrap_err() else {
        panic!("there are no keys");
    };
    assert!(unavailable.source().is_some(), "{unavailable:?} has no cause");
    printed.error(&unavailable);

    introspection(&mut printed, &issuer).await;
    token_client(&mut printed, &issuer).await;
    errors_of_a_server_that_hides_the_secret(&mut printed).await;

    // What holds secrets on purpose.
    let secret = Secret::new(SENTINEL.repeat(4));
    printed.debug(&secret);
    let builder = Validator::builder("https://issuer.example", "https://api.example")
        .dangerous_shared_secret(HmacAlgorithm::HS256, secret);
    printed.debug(&builder);
    printed.debug(&builder.build().unwrap());
    let secret = Secret::new(SENTINEL.repeat(2));
    let issuer_entry = Issuer::new("https://issuer.example", "https://api.example")
        .dangerous_shared_secret(HmacAlgorithm::HS256, secret);
    printed.debug(&issuer_entry);
    let builder = Validator::issuers([issuer_entry]).readiness(Readiness::all());
    printed.debug(&builder);
    printed.debug(&builder.build().unwrap());
    printed.debug(&Readiness::any());
    let resolver = async |tenant: Tenant| {
        drop(tenant);
        Err::<Option<Issuer>, _>(ResolveError::new("why"))
    };
    printed.debug(&Tenants::new("https://issuer.example/{tenant}", resolver));
    printed.error(&ResolveError::new("why"));
    let inner: ResolveError = ResolveError::new("why");
    printed.error(&DeadlineError::Inner(inner));
    printed.error(&DeadlineError::<ResolveError>::Expired);
    let failed = TransportError::new(TransportErrorKind::Timeout).with_source("why");
    printed.error(&MetadataFault::Transport(failed));
    printed.error(&MetadataFault::NotMetadata);
    use tower_bearer::introspection::{IntrospectionError, IntrospectionErrorKind};
    printed.error(&IntrospectionError::from(IntrospectionErrorKind::Timeout));
    let short = Validator::builder("https://issuer.example", "https://api.example")
        .dangerous_shared_secret(HmacAlgorithm::HS512, Secret::new(SENTINEL));
    printed.error(&short.build().unwrap_err());

    let keys = tower_bearer::dpop::NonceKeys::new(Secret::new(&SENTINEL.repeat(4)[..32])).unwrap();
    printed.debug(&keys);
    printed.error(&tower_bearer::dpop::NonceKeys::new(Secret::new(SENTINEL)).unwrap_err());
    let redis = format!("redis://user:{SENTINEL}@127.0.0.1/");
    let replay = tower_bearer::dpop::RedisReplay::new(&redis).unwrap();
    printed.debug(&replay);
    printed.debug(&tower_bearer::dpop::Dpop::accept().nonces(keys).replay_store(replay));
    printed.error(&tower_bearer::dpop::ReplayError::new("why"));
    let certificate = tower_bearer::mtls::Certificate::from_der(SENTINEL.as_bytes());
    printed.debug(&certificate);
    printed.debug(&tower_bearer::mtls::ClientCertHeader::nginx("x-ssl-client-cert"));
    let mtls = tower_bearer::mtls::Mtls::from_connection(move |_: &()| Some(certificate));
    printed.debug(&mtls);
    printed.error(&Validator::builder("i", "a").mtls(mtls.keep_header()).build().unwrap_err());
    let key = TestKey::generate(tower_bearer::jose::Algorithm::ES256);
    printed.debug(&tower_bearer::testing::TestProof::by(&key));
    printed.debug(&tower_bearer::client::FileSecret::new("/run/secrets/client"));
    let redis = format!("redis://user:{SENTINEL}@127.0.0.1/");
    printed.debug(&tower_bearer::client::RedisStore::new(&redis).unwrap());
    let redis = format!("redis://user:{SENTINEL}@127.0.0.1/#{SENTINEL}");
    printed.error(&tower_bearer::client::RedisStore::new(&redis).unwrap_err());
    let redis = format!("redis://user:{SENTINEL}@127.0.0.1/");
    let cluster = tower_bearer::client::Redis::cluster([&redis, SENTINEL]);
    printed.debug(&cluster);
    printed.error(&tower_bearer::client::RedisStore::new(cluster).unwrap_err());
    let followed = tower_bearer::client::Redis::sentinel("primary", [&redis])
        .credentials("user", SENTINEL)
        .client_certificate(&Secret::new(SENTINEL));
    printed.debug(&followed);
    printed.error(&tower_bearer::client::RedisStore::new(followed).unwrap_err());
    let tls = tower_bearer::client::Redis::server(format!("rediss://user:{SENTINEL}@127.0.0.1/"))
        .client_certificate(&Secret::new(SENTINEL));
    printed.error(&tower_bearer::client::RedisStore::new(tls).unwrap_err());

    // The rest, for completeness.
    let requirement = Requirement::scope("a").unwrap();
    let guard = ScopeGuardLayer::new(requirement.clone());
    let guarded = guard.layer(service_fn(answer));
    let future = guarded.oneshot(Request::new(String::new()));
    printed.text.push_str(&format!("{:?}", future.await.unwrap().extensions()));
    let mut guarded = guard.layer(service_fn(answer));
    printed.debug(&guarded.call(Request::new(String::new())));
    printed.debug(&guard.layer(PrintableService));
    printed.debug(&guard);
    printed.debug(&requirement);
    let (mut parts, ()) =
        Request::builder().header("authorization", &field).body(()).unwrap().into_parts();
    let missing = AccessToken::<NoClaims>::from_request_parts(&mut parts, &()).await;
    let rejection: TokenRejection = missing.unwrap_err();
    printed.error(&rejection);
    let Refusal::Misconfigured(misconfigured) = rejection.refusal() else {
        panic!("there is no layer: {rejection:?}");
    };
    printed.error(misconfigured);
    let implications = Implications::builder().implies("a", ["b"]);
    printed.debug(&implications);
    printed.debug(&implications.build().unwrap());
    printed.both(&tower_bearer::Scope::new("a").unwrap());
    printed.both(&tower_bearer::ScopeSet::parse("a b"));
    printed.debug(&ScopeSource::standard());
    printed.debug(&ClientIdSource::default());
    printed.debug(&NoClaims);
    printed.debug(&SystemClock);
    printed.both(&UnixTime::from_secs(1));
    printed.debug(&ManualClock::new(UnixTime::from_secs(1)));
    printed.debug(&Limits::new(1, Duration::from_secs(1)));
    printed.error(&TransportError::new(TransportErrorKind::Timeout).with_source("why"));
    printed.debug(&ReqwestTransport::new().unwrap());
    let through = ServiceTransport::new(service_fn(async |request: Request<ServiceBody>| {
        let text = format!("{:?}", request.body());
        Ok::<_, std::io::Error>(Response::new(text))
    }));
    printed.debug(&through);
    let request = Request::new(Bytes::from_static(SENTINEL.as_bytes()));
    let shown = through.send(request, Limits::new(100, Duration::from_secs(1))).await.unwrap();
    printed.text.push_str(std::str::from_utf8(shown.body()).unwrap());
    printed.types.insert("ServiceBody".into());
    let proxy = format!("http://me:{SENTINEL}@proxy.example:3128");
    let builder = ReqwestTransport::builder().proxy(&proxy);
    printed.debug(&builder);
    printed.debug(&builder.build().unwrap());
    let refused = ReqwestTransport::builder().proxy(&format!("ftp://me:{SENTINEL}@proxy.example"));
    printed.error(&refused.build().unwrap_err());
    let refused = ReqwestTransport::builder().client_certificate(&Secret::new(SENTINEL));
    printed.error(&refused.build().unwrap_err());
    let scripted = ScriptedTransport::new();
    scripted.push(ScriptedAnswer::json("{}"));
    let mut request = Request::new(Bytes::from_static(SENTINEL.as_bytes()));
    request.headers_mut().insert("authorization", field.parse().unwrap());
    printed.debug(&ScriptedAnswer::json("{}"));
    let _ = scripted.send(request, Limits::new(100, Duration::from_secs(1))).await;
    printed.debug(&scripted);
    let in_process: IssuerTransport = issuer.transport();
    printed.debug(&in_process);
    printed.debug(&DefaultRenderer);
    let _: &dyn Renderer = &DefaultRenderer;
    let _: Option<AnyOf<(Read, Read)>> = None;

    let mut all = printed.text;
    let events = log.0.lock().unwrap().clone();
    assert!(events.contains("request refused"), "nothing was logged");
    // Whose token it was, and from where, is said.
    for field in ["tenant=\"tenant\"", "endpoint=\"https://issuer.example/token?…\""] {
        assert!(events.contains(field), "{field}");
    }
    all.push_str(&events);
    let metrics = format!("{:?}", snapshotter.snapshot().into_vec());
    assert!(metrics.contains("tower_bearer_requests_total"), "nothing was counted");
    all.push_str(&metrics);

    let mut needles: Vec<String> = vec![SENTINEL.to_owned()];
    for (_, token) in &tokens {
        needles.extend(token.split(['.', ' ', '"']).filter(|part| part.len() > 40).map(Into::into));
    }
    assert!(needles.len() > 20);
    for needle in needles {
        if let Some(at) = all.find(&needle) {
            let from = all[..at].char_indices().rev().nth(200).map_or(0, |(at, _)| at);
            panic!("{needle:.30} is printed: {}", &all[from..at + needle.len()]);
        }
    }

    let harmless = HARMLESS.iter().map(|name| (*name).to_owned()).collect();
    let covered: BTreeSet<String> = printed.types.union(&harmless).cloned().collect();
    let forgotten: Vec<_> = public_types().difference(&covered).cloned().collect();
    assert!(forgotten.is_empty(), "public types that this test doesn't print: {forgotten:?}");
    let errors = public_errors();
    assert!(errors.len() > 15, "{errors:?}");
    let forgotten: Vec<_> = errors
        .difference(&printed.errors)
        .filter(|name| !ELSEWHERE.contains(&name.as_str()))
        .collect();
    assert!(forgotten.is_empty(), "errors that this test doesn't print: {forgotten:?}");
}
