//! Two independent authorization servers behind one layer at once: what happens to the one is nothing
//! to the tokens of the other.

#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Request, Response};
use support::authorization_server::{AUDIENCE, AuthorizationServer, Rotation};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::issuers::{Issuer, Readiness};
use tower_bearer::jwks::Jwks;
use tower_bearer::token::ScopeSource;
use tower_bearer::{BearerAuthLayer, Refusal, RejectionKind, Validator};

/// What the Authlib server calls this service: its client.
const AUTHLIB_AUDIENCE: &str = "svc-scp";

fn keys(server: &AuthorizationServer) -> tower_bearer::jwks::JwksBuilder {
    Jwks::discover(server.issuer()).cooldown(Duration::from_secs(1))
}

/// Nothing is remembered, so that every token is verified anew.
async fn validator(oidc: &AuthorizationServer, authlib: &AuthorizationServer) -> Validator {
    let issuers = [
        Issuer::new(oidc.issuer(), AUDIENCE).scope_source(ScopeSource::rfc9068()).keys(keys(oidc)),
        Issuer::new(authlib.issuer(), AUTHLIB_AUDIENCE)
            .scope_source(ScopeSource::claim("scp").expect("a claim"))
            .keys(keys(authlib)),
    ];
    let builder = Validator::issuers(issuers).readiness(Readiness::all()).cache_entries(0);
    let validator = builder.build().expect("the settings can work");
    validator.ready(Duration::from_secs(10)).await.expect("both have keys");
    validator
}

/// Validates one server's tokens over and over: each is accepted, and none waits.
struct Served {
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    fn start(validator: &Validator, tokens: Vec<String>) -> Self {
        let (count, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let task = tokio::spawn({
            let (validator, count, stop) =
                (validator.clone(), Arc::clone(&count), Arc::clone(&stop));
            async move {
                for token in tokens.iter().cycle() {
                    let verdict = validator.validate(token).now_or_never().expect("it waits");
                    let token = verdict.expect("it is accepted");
                    assert_eq!(token.scopes().as_str(), "api:read");
                    count.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        Self { count, stop, task }
    }

    /// Waits until it was served so many times more.
    async fn more(&self, times: usize) {
        let until = self.count.load(Ordering::Relaxed) + times;
        while self.count.load(Ordering::Relaxed) < until {
            assert!(!self.task.is_finished(), "a request of the other server failed, or waited");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a request of the other server failed, or waited");
    }
}

/// The same token, as if signed with a key that nobody has.
fn with_made_up_kid(token: &str, kid: usize) -> String {
    let (_, rest) = token.split_once('.').expect("a JWT");
    let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"made-up-{kid}"}}"#);
    format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header))
}

async fn tokens(server: &AuthorizationServer, kinds: &[&str]) -> Vec<String> {
    let mut tokens = Vec::new();
    for kind in kinds {
        tokens.push(server.token(kind, "api:read").await);
    }
    tokens
}

/// What a caller is answered whose request has this token.
async fn answer(validator: &Validator, token: &str) -> Response<impl Sized + use<>> {
    let inner = service_fn(async |_| Ok::<_, Infallible>(Response::new(String::new())));
    let service = BearerAuthLayer::new(validator.clone()).layer(inner);
    let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
    service.oneshot(request.body(String::new()).expect("a request")).await.expect("an answer")
}

/// Floods, rotates and kills one server while the tokens of the other are validated.
async fn trouble(
    validator: &Validator,
    troubled: &mut AuthorizationServer,
    kinds: &[&str],
    others: Vec<String>,
) {
    let other = others.first().expect("a token").clone();
    let served = Served::start(validator, others);
    served.more(50).await;

    // N7: made-up kids at the troubled server.
    let genuine = troubled.token(kinds[0], "api:read").await;
    let flood: Vec<_> = (0..200)
        .map(|kid| {
            let (validator, token) = (validator.clone(), with_made_up_kid(&genuine, kid));
            tokio::spawn(async move { validator.validate(&token).await.expect_err("made up") })
        })
        .collect();
    served.more(100).await;
    // LC20: its own new keys are found, though.
    tokio::time::sleep(Duration::from_secs(3)).await;
    troubled.rotate(Rotation::Hard).await;
    for token in tokens(troubled, kinds).await {
        validator.validate(&token).await.expect("a token of the new keys");
    }
    for refused in flood {
        refused.await.expect("no panic");
    }
    let old = validator.validate(&genuine).await.expect_err("its key is gone");
    assert!(
        matches!(&old, Refusal::Rejection(it) if it.kind() == RejectionKind::UnknownKey),
        "{old}"
    );

    // N6: the troubled server is gone, and its unknown keys are asked for.
    let known = troubled.token(kinds[0], "api:read").await;
    troubled.kill();
    validator.jwks_of(troubled.issuer()).expect("it is listed").refresh().await.expect_err("dead");
    let unknown = validator.validate(&with_made_up_kid(&known, 1_000)).await.expect_err("made up");
    assert!(matches!(unknown, Refusal::Unavailable(_)), "{unknown}");
    served.more(100).await;
    validator.validate(&known).await.expect("its keys are kept for a while");
    // The same as callers see it.
    let refused = answer(validator, &with_made_up_kid(&known, 1_001)).await;
    assert_eq!(refused.status(), 503);
    let seconds = refused.headers()[RETRY_AFTER].to_str().expect("text").parse::<u64>();
    assert!((1..=60).contains(&seconds.expect("a number of seconds")), "{:?}", refused.headers());
    assert_eq!(refused.headers().get(WWW_AUTHENTICATE), None);
    for token in [&known, &other] {
        let answer = answer(validator, token).await;
        assert_eq!((answer.status().as_u16(), answer.headers().get(RETRY_AFTER)), (200, None));
    }
    troubled.start_again();
    served.more(50).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n6_n7_trouble_at_one_server_changes_nothing_for_the_tokens_of_the_other() {
    let (mut oidc, mut authlib) =
        (AuthorizationServer::oidc_provider(), AuthorizationServer::authlib());
    let validator = validator(&oidc, &authlib).await;
    let (of_oidc, of_authlib) = (["ES256", "RS256"], ["scp"]);
    let others = tokens(&authlib, &of_authlib).await;
    trouble(&validator, &mut oidc, &of_oidc, others).await;
    let others = tokens(&oidc, &of_oidc).await;
    for token in &others {
        validator.validate(token).await.expect("its keys are known");
    }
    trouble(&validator, &mut authlib, &of_authlib, others).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_n3_each_server_has_its_own_audience_scope_claim_and_keys() {
    let (oidc, authlib) = (AuthorizationServer::oidc_provider(), AuthorizationServer::authlib());
    let validator = validator(&oidc, &authlib).await;
    let of_oidc = oidc.token("ES256", "api:read api:write").await;
    let of_authlib = authlib.token("scp", "api:read api:write").await;
    for (token, issuer) in [(&of_oidc, oidc.issuer()), (&of_authlib, authlib.issuer())] {
        let token = validator.validate(token).await.expect("it is accepted");
        assert_eq!((token.issuer(), token.scopes().as_str()), (issuer, "api:read api:write"));
    }
    // Authlib's other clients have other audiences, and `scope`, which isn't looked at here.
    let other = validator.validate(&authlib.token("es256", "api:read").await).await;
    let other = other.expect_err("another audience");
    assert!(
        matches!(&other, Refusal::Rejection(it) if it.kind() == RejectionKind::WrongAudience),
        "{other}"
    );
    // The claims of the one under the signature and header of the other.
    let part = |token: &str, at: usize| token.split('.').nth(at).expect("a JWT").to_owned();
    for (one, two) in [(&of_oidc, &of_authlib), (&of_authlib, &of_oidc)] {
        let crossed = [part(two, 0), part(one, 1), part(two, 2)].join(".");
        let crossed = validator.validate(&crossed).await.expect_err("keys never cross");
        assert!(matches!(crossed, Refusal::Rejection(_)), "{crossed}");
    }
}
