//! The issuer's side, without a network.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use serde_json::{Value, json};
use tower::{Layer as _, Service as _, service_fn};
use tower_bearer::client::{
    CallerToken, ClientAuth, Grant, OnBehalf, OnBehalfOf, TokenClient, TokenExchange, TokenSource,
};
use tower_bearer::jwks::Jwks;
use tower_bearer::transport::{Limits, Transport, TransportFuture};
use tower_bearer::{BearerAuthLayer, Validator};

use crate::service::now;
use crate::tokens::{ISSUER, Issuer, Signing, key_set};

/// Answers every request with what a function says.
pub(crate) struct Scripted<F>(pub(crate) F);

impl<F: Fn() -> Value + Send + Sync + 'static> Transport for Scripted<F> {
    fn send(&self, _: Request<Bytes>, _: Limits) -> TransportFuture {
        let body = Bytes::from((self.0)().to_string());
        let response = Response::builder().header(CONTENT_TYPE, "application/json").body(body);
        Box::pin(async move { Ok(response.unwrap()) })
    }
}

/// A source of tokens that has one already, and the runtime that it was fetched in.
pub fn token_source() -> (TokenSource, tokio::runtime::Runtime) {
    let token = Issuer::new(Signing::Rs256).token(0);
    let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 86_400 });
    let client =
        TokenClient::builder().transport(Scripted(move || answer.clone())).build().unwrap();
    let auth = ClientAuth::basic("billing-worker", "secret");
    let grant = Grant::endpoint("https://login.example.com/token", auth).build().unwrap();
    let source = client.source(&grant);
    let runtime = runtime();
    runtime.block_on(source.token()).unwrap();
    (source, runtime)
}

/// What gets tokens on behalf of a caller, and has one for the caller that is there, too.
pub fn on_behalf(validator: &Validator) -> (OnBehalf, CallerToken, tokio::runtime::Runtime) {
    let caller = caller(validator, &Issuer::new(Signing::EdDsa).token(0));
    let answer = json!({
        "access_token": Issuer::new(Signing::EdDsa).token(1),
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 86_400,
    });
    let client =
        TokenClient::builder().transport(Scripted(move || answer.clone())).build().unwrap();
    let auth = ClientAuth::basic("billing-worker", "secret");
    let grant = Grant::endpoint("https://login.example.com/token", auth);
    let how = OnBehalfOf::token_exchange(TokenExchange::new());
    let target = client.on_behalf(grant, how).unwrap();
    let runtime = runtime();
    runtime.block_on(target.token(&caller)).unwrap();
    (target, caller, runtime)
}

/// Calls a service with a token, and returns what it may use it for.
fn caller(validator: &Validator, token: &str) -> CallerToken {
    let seen = Arc::new(Mutex::new(None));
    let place = Arc::clone(&seen);
    let layer = BearerAuthLayer::new(validator.clone()).keep_for_exchange();
    let mut service = layer.layer(service_fn(move |request: Request<()>| {
        *place.lock().unwrap() = CallerToken::from_extensions(request.extensions());
        std::future::ready(Ok::<_, Infallible>(Response::new(String::new())))
    }));
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let answer = now(service.call(request.body(()).unwrap())).unwrap();
    assert_eq!(answer.status(), 200);
    let seen = seen.lock().unwrap().take();
    seen.unwrap()
}

/// Gets a token for each of so many tenants, and returns what keeps them.
pub fn tenants(count: usize) -> (TokenClient, tokio::runtime::Runtime) {
    let token = Issuer::new(Signing::Rs256).token(0);
    let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 86_400 });
    let client = TokenClient::builder().transport(Scripted(move || answer.clone()));
    let client = client.capacity(count).build().unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        for tenant in 0..count {
            let auth = ClientAuth::basic("billing-worker", format!("secret of tenant {tenant}"));
            let grant = Grant::endpoint("https://login.example.com/token", auth)
                .tenant(&format!("tenant-{tenant}"))
                .scope("orders:read")
                .build()
                .unwrap();
            client.token(&grant).await.unwrap();
        }
    });
    (client, runtime)
}

/// What is done to the key set every ten milliseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Swap {
    Nothing,
    /// It is fetched, and is the same.
    Same,
    /// It is fetched, and one of its keys is another.
    Other,
}

const EVERY: Duration = Duration::from_millis(10);

/// A key set that a thread of its own keeps fetching.
pub struct Swapper {
    pub jwks: Jwks,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// 0: nothing, 1: the same, 2: others, 3: end.
    order: AtomicU8,
    /// Which set is served.
    edition: AtomicUsize,
    swaps: AtomicUsize,
}

impl Swapper {
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                runtime().block_on(async {
                    let jwks = keys(Arc::clone(&shared));
                    jwks.ready(Duration::from_secs(5)).await.unwrap();
                    sender.send(jwks.clone()).unwrap();
                    keep_fetching(&jwks, &shared).await;
                });
            }
        });
        Self { jwks: receiver.recv().unwrap(), shared, thread: Some(thread) }
    }

    /// Says what is to be done from now on.
    pub fn order(&self, swap: Swap) {
        self.shared.order.store(swap as u8, Ordering::SeqCst);
        std::thread::sleep(2 * EVERY);
    }

    /// How often the set was fetched.
    pub fn swaps(&self) -> usize {
        self.shared.swaps.load(Ordering::SeqCst)
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.shared.order.store(3, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keys(shared: Arc<Shared>) -> Jwks {
    let answer = move || {
        let mut set = key_set();
        let mut other = set["keys"][0].clone();
        other["kid"] = format!("edition-{}", shared.edition.load(Ordering::SeqCst)).into();
        set["keys"].as_array_mut().unwrap().push(other);
        set
    };
    Jwks::url(ISSUER, "https://login.example.com/jwks").transport(Scripted(answer)).build().unwrap()
}

async fn keep_fetching(jwks: &Jwks, shared: &Shared) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        match shared.order.load(Ordering::SeqCst) {
            0 => continue,
            1 => {}
            2 => _ = shared.edition.fetch_add(1, Ordering::SeqCst),
            _ => return,
        }
        jwks.refresh().await.unwrap();
        shared.swaps.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}
