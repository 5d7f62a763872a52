//! A resource server: routes with scopes, public routes, readiness, a clean stop.
//!
//! With nothing set, it starts an issuer of its own and prints `curl` lines to try:
//!
//! ```text
//! cargo run --example resource_server
//! ```
//!
//! For a real issuer, set `ISSUER` and `AUDIENCE`; the README beside this file lists the other variables.

use std::env::{self, VarError};
use std::error::Error;
use std::fmt::Display;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tower_bearer::client::{BasicEncoding, ClientAuth, Redis};
use tower_bearer::dpop::{Dpop, NonceKeys, RedisReplay};
use tower_bearer::introspection::Introspection;
use tower_bearer::issuers::{Issuer, IssuerStatus};
use tower_bearer::jwks::{Jwks, JwksBuilder};
use tower_bearer::mtls::{ClientCertHeader, Mtls};
use tower_bearer::testing::TestIssuer;
use tower_bearer::token::ScopeSource;
use tower_bearer::{
    Access, AccessToken, BearerAuthLayer, RequireScope, Requirement, RouteTable, Secret, Validator,
    scopes,
};
use tracing_subscriber::EnvFilter;

scopes! {
    /// May read.
    ApiRead = "api:read";
}

/// Every claim of the token, as it came.
type AllClaims = Map<String, Value>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();

    let listen = variable("LISTEN")?.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&listen).await?;
    let address = listener.local_addr()?;

    // Without ISSUER, an issuer in this process takes its place. It is for trying out only.
    let (issuer, embedded) = match variable::<String>("ISSUER")? {
        Some(issuer) => (issuer, None),
        None => {
            let embedded = TestIssuer::start().await?;
            (embedded.issuer().to_owned(), Some(embedded))
        }
    };
    let audience = match (variable("AUDIENCE")?, &embedded) {
        (Some(audience), _) => audience,
        (None, Some(embedded)) => embedded.audience().to_owned(),
        (None, None) => return Err("set AUDIENCE to what the issuer calls this service".into()),
    };

    let first = Issuer::new(&issuer, &audience).keys(keys(&issuer, "JWKS_URI")?);
    let first = match introspection()? {
        Some(introspection) => first.introspection(introspection),
        None => first,
    };
    let mut issuers = vec![lenient(first)?];
    println!("listening on http://{address}, for tokens of {issuer} with the audience {audience}");
    if let Some(second) = second_issuer()? {
        issuers.push(second);
    }
    let app = app(issuers)?;
    if let Some(embedded) = &embedded {
        print_curl_lines(embedded, &audience, &format!("http://{address}"));
    }
    // With the address of each connection's other end: a proxy's header is believed by that.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(stop_signal()).await?;
    Ok(())
}

/// Builds the second issuer from the environment, if it is set.
fn second_issuer() -> Result<Option<Issuer>, Box<dyn Error>> {
    let Some(issuer) = variable::<String>("ISSUER_2")? else { return Ok(None) };
    let Some(audience) = variable::<String>("AUDIENCE_2")? else {
        return Err("set AUDIENCE_2 to what the second issuer calls this service".into());
    };
    println!("and for tokens of {issuer} with the audience {audience}");
    let mut second = Issuer::new(&issuer, &audience).keys(keys(&issuer, "JWKS_URI_2")?);
    if let Some(claim) = variable::<String>("SCOPE_CLAIM_2")? {
        second = second.scope_source(ScopeSource::claim(&claim)?);
    }
    Ok(Some(lenient(second)?))
}

/// Builds what asks `ISSUER` about opaque tokens from the environment, if that is set.
fn introspection() -> Result<Option<Introspection>, Box<dyn Error>> {
    let Some(client_id) = variable::<String>("INTROSPECTION_CLIENT_ID")? else { return Ok(None) };
    let Some(secret) = variable::<String>("INTROSPECTION_CLIENT_SECRET")? else {
        return Err("set INTROSPECTION_CLIENT_SECRET to the secret of that client".into());
    };
    let encoding = match variable::<String>("INTROSPECTION_BASIC")?.as_deref() {
        None => BasicEncoding::Form,
        Some("raw") => BasicEncoding::Raw,
        Some(other) => return Err(format!("INTROSPECTION_BASIC: {other} isn't \"raw\"").into()),
    };
    let auth = ClientAuth::basic_encoded(&client_id, secret, encoding);
    let mut asking = match variable::<String>("INTROSPECTION_URI")? {
        Some(url) => Introspection::endpoint(url, auth),
        None => Introspection::discover(auth),
    };
    if let Some(ttl) = seconds("INTROSPECTION_TTL_SECS")? {
        asking = asking.ttl(ttl);
    }
    if let Some(timeout) = seconds("INTROSPECTION_TIMEOUT_SECS")? {
        asking = asking.timeout(timeout);
    }
    match variable::<String>("INTROSPECTION_AUD")?.as_deref() {
        None => {}
        Some("optional") => asking = asking.dangerous_accept_missing_aud(),
        Some(other) => return Err(format!("INTROSPECTION_AUD: {other} isn't \"optional\"").into()),
    }
    if switch("INTROSPECTION_SIGNED")? {
        asking = asking.signed();
    }
    Ok(Some(asking))
}

fn lenient(issuer: Issuer) -> Result<Issuer, Box<dyn Error>> {
    Ok(match seconds("LEEWAY_SECS")? {
        Some(leeway) => issuer.leeway(leeway),
        None => issuer,
    })
}

/// Builds a key source from the environment; `url` names the variable with the key set's address.
fn keys(issuer: &str, url: &str) -> Result<JwksBuilder, Box<dyn Error>> {
    let mut keys: JwksBuilder = match variable::<String>(url)? {
        Some(url) => Jwks::url(issuer, &url),
        None => Jwks::discover(issuer),
    };
    if let Some(ttl) = seconds("JWKS_TTL_SECS")? {
        keys = keys.ttl(ttl);
    }
    if let Some(cooldown) = seconds("JWKS_COOLDOWN_SECS")? {
        keys = keys.cooldown(cooldown);
    }
    if let Some(timeout) = seconds("JWKS_TIMEOUT_SECS")? {
        keys = keys.timeout(timeout);
    }
    if let Some(bytes) = variable("JWKS_MAX_BYTES")? {
        keys = keys.max_bytes(bytes);
    }
    Ok(keys)
}

/// Reads from the environment whether tokens may or must be bound to a key of the client's.
fn dpop() -> Result<Option<Dpop>, Box<dyn Error>> {
    let dpop = match variable::<String>("DPOP")?.as_deref() {
        None => return without_dpop(),
        Some("accept") => Dpop::accept(),
        Some("require") => Dpop::require(),
        Some(other) => return Err(format!("DPOP is {other:?}: use accept or require").into()),
    };
    let origins = variable::<String>("PUBLIC_ORIGIN")?.unwrap_or_default();
    let origins = origins.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    let mut dpop = dpop.public_origins(origins);
    let key = variable::<String>("DPOP_NONCE_KEY")?;
    if switch("DPOP_NONCES")? {
        // With a key of its own, a server accepts the nonces of no other one.
        dpop = dpop.nonces(match key {
            Some(key) => {
                let key = BASE64_URL_SAFE_NO_PAD.decode(key.trim_end_matches('='));
                NonceKeys::new(Secret::new(key.map_err(|_| "DPOP_NONCE_KEY isn't base64url")?))?
            }
            None => NonceKeys::random()?,
        });
    } else if key.is_some() {
        return Err("DPOP_NONCE_KEY has no effect without DPOP_NONCES=1".into());
    }
    let sentinel = variable::<String>("DPOP_REPLAY_SENTINEL")?;
    match variable::<String>("DPOP_REPLAY")?.as_deref() {
        None | Some("memory") if sentinel.is_some() => {
            Err("DPOP_REPLAY_SENTINEL needs the addresses of the Sentinels in DPOP_REPLAY".into())
        }
        None | Some("memory") => Ok(Some(dpop)),
        Some(urls) => {
            let urls: Vec<_> = urls.split(',').map(str::trim).collect();
            let redis = match (sentinel, &*urls) {
                (Some(primary), _) => Redis::sentinel(primary, urls),
                (None, [url]) => Redis::server(url),
                (None, _) => Redis::cluster(urls),
            };
            Ok(Some(dpop.replay_store(RedisReplay::new(redis)?)))
        }
    }
}

/// Without `DPOP`, no proof is looked at: what is set about proofs is a mistake. `PUBLIC_ORIGIN`, which says where
/// the service is, isn't.
fn without_dpop() -> Result<Option<Dpop>, Box<dyn Error>> {
    for name in ["DPOP_NONCES", "DPOP_NONCE_KEY", "DPOP_REPLAY", "DPOP_REPLAY_SENTINEL"] {
        if variable::<String>(name)?.is_some() {
            return Err(format!("{name} has no effect without DPOP=accept or DPOP=require").into());
        }
    }
    Ok(None)
}

/// Reads from the environment which header of which proxies has the client's certificate.
fn mtls() -> Result<Option<Mtls>, Box<dyn Error>> {
    let proxies = variable::<String>("TRUSTED_PROXIES")?;
    let header = match (variable::<String>("CLIENT_CERT_HEADER")?.as_deref(), &proxies) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err("TRUSTED_PROXIES needs CLIENT_CERT_HEADER as well".into()),
        (Some("rfc9440"), _) => ClientCertHeader::rfc9440(),
        (Some("envoy"), _) => ClientCertHeader::envoy(),
        (Some("alb"), _) => ClientCertHeader::alb(),
        (Some("nginx"), _) => ClientCertHeader::nginx("X-SSL-Client-Cert"),
        (Some("haproxy"), _) => ClientCertHeader::base64_der("X-SSL-Client-DER"),
        (Some(other), _) => {
            let known = "use rfc9440, envoy, alb, nginx or haproxy";
            return Err(format!("CLIENT_CERT_HEADER is {other:?}: {known}").into());
        }
    };
    let proxies = proxies.as_deref().unwrap_or_default().split(',').map(str::trim);
    let proxies: Vec<_> = proxies.filter(|proxy| !proxy.is_empty()).collect();
    if proxies.is_empty() {
        return Err("TRUSTED_PROXIES is empty: who may send CLIENT_CERT_HEADER?".into());
    }
    let mtls = Mtls::from_header(header)
        .trusted_proxies(proxies, |peer: &ConnectInfo<SocketAddr>| Some(peer.0.ip()));
    Ok(Some(mtls.map_err(|error| format!("TRUSTED_PROXIES: {error}"))?))
}

fn app(issuers: Vec<Issuer>) -> Result<Router, Box<dyn Error>> {
    let mut validator = Validator::issuers(issuers).claims::<AllClaims>();
    if let Some(dpop) = dpop()? {
        validator = validator.dpop(dpop);
    }
    if let Some(mtls) = mtls()? {
        validator = validator.mtls(mtls);
    }
    let validator = validator.build()?;

    // What each route needs, in one place. What isn't listed needs a valid token.
    let both = [Requirement::scope("api:read")?, Requirement::scope("api:write")?];
    let either = [Requirement::scope("api:admin")?, Requirement::scope("api:write")?];
    let routes = RouteTable::builder()
        .route(Method::GET, "/public", Access::public())
        .route(Method::GET, "/healthz/ready", Access::public())
        .route(Method::GET, "/optional", Access::optional())
        .route(Method::POST, "/write", Access::requires(Requirement::all(both)))
        .route(Method::GET, "/any", Access::requires(Requirement::any(either)?))
        .build()?;
    let mut auth = BearerAuthLayer::new(validator.clone()).realm("api")?.routes(routes);
    // With its public URL, the service tells clients where to get a token.
    if let Some(resource) = variable::<String>("RESOURCE")? {
        auth = auth.resource(&resource)?;
    }

    Ok(Router::new()
        .route("/public", get(async || "public\n"))
        .route("/whoami", get(whoami))
        .route("/read", get(read))
        .route("/write", post(async || "written\n"))
        .route("/any", get(async || "either scope will do\n"))
        .route("/optional", get(optional))
        .route("/healthz/ready", get(ready))
        .with_state(validator)
        .layer(auth))
}

async fn whoami(token: AccessToken<AllClaims>) -> Json<AllClaims> {
    Json(token.extra().clone())
}

/// Here the handler says itself what it needs, and gets proof of it.
async fn read(token: RequireScope<ApiRead>) -> String {
    format!("read by {}\n", token.client_id().unwrap_or("an unnamed client"))
}

async fn optional(token: Option<AccessToken<AllClaims>>) -> String {
    match token {
        Some(token) => format!("hello, {}\n", token.subject().unwrap_or("anonymous")),
        None => "hello, anonymous\n".to_owned(),
    }
}

/// Says how the keys are; of each issuer if there are two, or one is asked about tokens.
async fn ready(State(validator): State<Validator<AllClaims>>) -> (StatusCode, Json<Value>) {
    let ready = validator.health().is_ready();
    let status = match validator.issuer_status().as_slice() {
        [IssuerStatus { keys: Some(keys), introspection: None, .. }] => json!(keys),
        issuers => json!({ "health": validator.health(), "issuers": issuers }),
    };
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(status))
}

/// Prints lines to paste into a shell: a 200, a 401 and a 403.
fn print_curl_lines(issuer: &TestIssuer, audience: &str, base: &str) {
    let claims = issuer.token().subject("demo").client_id("demo").audience(audience);
    let reader = claims.scope("api:read").expires_in(Duration::from_secs(3_600)).sign();
    println!("\n# 200: the token has the scope api:read");
    println!("curl -i -H 'Authorization: Bearer {reader}' {base}/read");
    println!("\n# 401: no token");
    println!("curl -i {base}/read");
    println!("\n# 403: the token lacks the scope api:write");
    println!("curl -i -X POST -H 'Authorization: Bearer {reader}' {base}/write\n");
}

/// Returns the variable's value, if it is set and not empty.
fn variable<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>, String> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => value.parse().map(Some).map_err(|error| format!("{name}: {error}")),
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Returns whether a variable is set that can only be set to `1`.
fn switch(name: &str) -> Result<bool, String> {
    match variable::<String>(name)?.as_deref() {
        None => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(format!("{name} is {other:?}: use 1, or leave it out")),
    }
}

fn seconds(name: &str) -> Result<Option<Duration>, String> {
    Ok(variable(name)?.map(Duration::from_secs))
}

/// Waits for SIGINT or SIGTERM.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened for");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
