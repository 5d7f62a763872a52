//! The token client: gets access tokens by client credentials, an exchange ([`GrantBuilder::token_exchange`],
//! [`OnBehalf`]) or an assertion ([`GrantBuilder::jwt_bearer`]), caches and attaches them.
//!
//! With the feature `introspection` alone, the module has only [`ClientAuth`] and its parts, with which
//! clients authenticate.
//!
//! # Three lines
//!
//! With `OAUTH_CLIENT_ID`, `OAUTH_CLIENT_SECRET` and `OAUTH_TOKEN_ENDPOINT` or `OAUTH_ISSUER` in the
//! environment ([`Grant::from_env`] reads some more), calling a protected service with `reqwest` 0.13
//! takes this (feature `reqwest-0_13`):
//!
//! ```no_run
//! # #[cfg(feature = "reqwest-0_13")]
//! # async fn example(http: reqwest::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use tower_bearer::client::{AttachTokenLayer, TokenSource};
//!
//! let tokens = TokenSource::from_env()?;
//! let orders = AttachTokenLayer::new(tokens, ["https://orders.example"])?;
//! let answer = orders.send(http.get("https://orders.example/orders/7")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Configuration in code
//!
//! A [`Grant`] describes the token: its authorization server, client and scopes. A [`TokenSource`]
//! provides it. [`AttachTokenLayer`] is a tower layer for any client of `http` requests.
//!
//! ```
//! # #[cfg(feature = "test-util")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use http::{Request, Response, StatusCode, header::AUTHORIZATION};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_bearer::client::{AttachTokenLayer, ClientAuth, Grant, ReplayBody, SendError};
//! use tower_bearer::testing::TestIssuer;
//!
//! let issuer = TestIssuer::start().await?;
//! let auth = ClientAuth::basic(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET);
//! let tokens = Grant::discover(issuer.issuer(), auth)
//!     .scope("orders:read")
//!     .allow_loopback_http() // the embedded issuer has no certificate
//!     .source()?;
//!
//! // In place of the closure: hyper-util's client, or a stack around it.
//! let client = ServiceBuilder::new()
//!     .layer(AttachTokenLayer::new(tokens, ["https://orders.example"])?)
//!     .service(service_fn(|request: Request<ReplayBody<String>>| async move {
//!         assert!(request.headers()[AUTHORIZATION].is_sensitive());
//!         Ok::<_, std::io::Error>(Response::new("an order"))
//!     }));
//!
//! let request = Request::get("https://orders.example/orders/7").body(String::new())?;
//! assert_eq!(client.clone().oneshot(request).await?.status(), StatusCode::OK);
//!
//! // The token is sent to no other origin.
//! let request = Request::get("https://evil.example/orders/7").body(String::new())?;
//! assert!(matches!(client.oneshot(request).await, Err(SendError::Origin(_))));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "test-util"))]
//! # fn main() {}
//! ```
//!
//! tonic's `Channel` has one peer, and takes a body of its own type:
//!
//! ```
//! # fn example(tokens: tower_bearer::client::TokenSource) -> Result<(), Box<dyn std::error::Error>> {
//! use tower::ServiceBuilder;
//! use tower_bearer::client::{AttachTokenLayer, ReplayBody};
//! use tonic::{body::Body, transport::Channel};
//!
//! let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
//! let channel = ServiceBuilder::new()
//!     .layer(AttachTokenLayer::for_channel(tokens, "http://[::1]:50051")?)
//!     .map_request(|request: http::Request<ReplayBody<Body>>| request.map(Body::new))
//!     .service(channel);
//! // let mut client = OrdersClient::new(channel);
//! # Ok(())
//! # }
//! ```
//!
//! The layer can't see where the channel connects to, or whether it uses TLS: give it the same origin as
//! the channel. [`SendError`] shows how a missing token becomes gRPC's `UNAVAILABLE` or
//! `DEADLINE_EXCEEDED`.
//!
//! # Lifecycle of a token
//!
//! **Kept.** A cached token is used until a tenth of its lifetime is left, or one minute if that is
//! less. One to two tenths of the lifetime before that point (chosen at random), the next call
//! starts a background fetch of a new token. Calls keep using the old token until the fetch
//! succeeds, also if the authorization server is down, and wait only once the old one is no longer
//! used. One fetch, in its own task, serves all calls that need the token; a caller that is dropped
//! does not cancel it. Lifetimes are measured with the monotonic clock, from the time of the token
//! request. Without an `expires_in` in the response, the lifetime is five minutes
//! ([`GrantBuilder::default_lifetime`]); with a zero or invalid one, the token is used once.
//!
//! **Failed fetches.** A fetch has up to three attempts within ten seconds
//! ([`TokenClientBuilder::timeout`]), if its failure may be temporary. A permanent failure
//! ([`TokenError::is_permanent`]) is cached for ten seconds, doubling up to five minutes. Any other
//! failure, such as a proxy's 404, is cached for half a second, doubling up to one minute, or for
//! the time that `Retry-After` names, up to five minutes. Calls during that time return the same
//! error at once. [`TokenSource::reset`] and [`TokenClient::reset`] discard it.
//!
//! **Concurrent fetches.** At most 64 fetches run at the same time
//! ([`TokenClientBuilder::concurrent_fetches`]), at most half of them for one authorization server.
//! Others are queued: fetches with a waiting caller first, then background fetches.
//!
//! **Deadlines.** A call returns an error at its deadline, while the fetch continues. The deadline
//! is the request's timeout, its `grpc-timeout`, or [`AttachTokenLayer::token_timeout`]. The time
//! spent waiting is deducted from the request's own timeout.
//!
//! **Refused tokens.** If the server answers 401 (or gRPC `UNAUTHENTICATED`) with `invalid_token`,
//! with no error, or with no challenge at all, the request is sent once more with a new token, if
//! its body could be buffered ([`AttachTokenLayer::replay_up_to`]). The second response is returned
//! to the caller. Until a new token is available, other requests keep using the old one, which may
//! still be valid at other servers. If the origin refuses new tokens too, the token is not the
//! cause, and no other is fetched for that origin for thirty seconds.
//!
//! **Where tokens are sent.** Without a token, the request is not sent. A token is sent only to the
//! configured origins, only over `https` or to a loopback address (for a mesh that encrypts by
//! itself, see [`AttachTokenLayer::dangerous_allow_http`] and
//! [`GrantBuilder::dangerous_allow_http`]), and only if no `Host` field names another host. A
//! request that already has an `Authorization` field is sent unchanged
//! ([`AttachTokenLayer::replace_existing`]).
//!
//! # Tokens that are bound to a key (DPoP)
//!
//! With the feature `dpop` and `GrantBuilder::dpop`, tokens are bound to a private key (RFC 9449): a stolen
//! token can't be used without that key. The code that calls services doesn't change:
//!
//! ```
//! # #[cfg(feature = "dpop")]
//! # fn example() -> Result<(), tower_bearer::ConfigError> {
//! use tower_bearer::client::{AttachTokenLayer, ClientAuth, DpopKey, Grant};
//!
//! let tokens = Grant::discover("https://issuer.example", ClientAuth::basic("billing", "s3cret"))
//!     .dpop(DpopKey::generate()?)
//!     .source()?;
//! let orders = AttachTokenLayer::new(tokens, ["https://orders.example"])?;
//! # Ok(())
//! # }
//! ```
//!
//! Every token request and every call has a new proof for its method and URL, also one that is sent once
//! more. [`AttachTokenLayer`] adds it for tower services, tonic's channels and `reqwest`;
//! [`TokenSource::authorize`] for every other HTTP client. A request that is redirected has the proof for
//! the URL before: let the HTTP client follow no redirects. If a server wants a nonce, the request is sent
//! once more with it, if its body could be buffered; at the token endpoint with a new client assertion, too.
//! The newest nonce of each origin is kept, those of token requests and of calls apart.
//!
//! A server that answers with a bearer token despite the proof is refused
//! (`GrantBuilder::dangerous_accept_bearer` accepts it), and so is an issuer whose metadata lists algorithms
//! for proofs, and not the key's. If a proof is refused and the server's `Date` is more than 30 seconds
//! off, that is logged once; no clock is adjusted.
//!
//! # Client certificates
//!
//! With [`ClientAuth::tls`], the certificate that the transport presents says who the client is (RFC 8705
//! §2). `ReqwestTransportBuilder::client_certificate_files` takes it from files that may be replaced at any
//! time. Tokens may be bound to it, also where the client authenticates otherwise
//! ([`GrantBuilder::certificate_bound`]), so that the calls must present the same one. When there is
//! another, which is checked every five seconds as long as there are calls, tokens are replaced by new
//! ones, without a call that waits. A custom transport reports its certificate by
//! [`Transport::client_certificate_version`](crate::transport::Transport::client_certificate_version).
//!
//! # Secrets that change
//!
//! A [`SecretProvider`] is queried again when its last secret is five minutes old, and when the
//! server refuses the client's secret; a new secret is then used for the same fetch. If the server
//! doesn't know the new one yet, the last accepted secret is tried. A rotation therefore needs
//! neither a restart nor precise timing. While the server keeps refusing the provider's secret, the
//! provider is queried at growing intervals, up to half a minute while there are calls.
//!
//! A client without any secret authenticates with the JWT that its platform issues and renews
//! ([`ClientAuth::workload`]): it is read for each fetch, and the previous one is used until its `exp` while
//! there is no newer one. A private key may also stay in a key management service
//! ([`AssertionSigner`]).
//!
//! # Errors
//!
//! A [`TokenError`] names the client, the tenant, the issuer and the token endpoint; its
//! [`source`](std::error::Error::source) is the cause, such as an invalid private key. The server's error
//! description is included only if it cannot contain a secret of the request (the client's secret or assertion,
//! the values of [`GrantBuilder::parameter`], and the query of the endpoint's URL), also not encoded, reversed,
//! or with one character changed. In doubt only the error code is shown. `Debug` adds the causes.
//!
//! # Tenants
//!
//! A [`TokenClient`] has the tokens of any number of grants. They are kept apart by a hash of all that
//! distinguishes them, the secret included. The cache is bounded, and each tenant has a quota in it.
//!
//! # Several processes
//!
//! With a [`TokenStore`] (`TokenClientBuilder::shared`, feature `shared-cache`), processes share tokens, and
//! one of them fetches for all. Stored values are encrypted and bound to their keys. Each call to the store may
//! take 0.2 seconds; if the store is slow, full or unreachable, processes continue without it, and no call
//! fails. `RedisStore` (feature `redis`) is such a store, in Redis or Valkey: one server, a cluster, or a
//! primary behind Sentinels, as described at `Redis`.
//!
//! Tokens that are bound to a key by DPoP are shared among the processes that have the same key, and not at
//! all if the key was made by the process. Tokens that were requested with a TLS certificate ([`ClientAuth::tls`],
//! [`GrantBuilder::certificate_bound`]) aren't shared, nor are other JWTs whose `cnf` binds them to a
//! certificate or a key, since each process may have its own (RFC 8705 §3).
//!
//! # Bounds
//!
//! | what | bound | setting |
//! |---|---|---|
//! | getting a token, all attempts together | 10 s, one exchange half of it | [`TokenClientBuilder::timeout`] |
//! | waiting for a token, for a request with less time | its own timeout | [`AttachTokenLayer::token_timeout`] |
//! | fetches at the same time | 64, half of them for one server | [`TokenClientBuilder::concurrent_fetches`] |
//! | requests for one token | 5: three attempts, three secrets | |
//! | how long an error is cached | 5 min | |
//! | the token endpoint's answer | 64 KiB | |
//! | an issuer's metadata, kept for an hour, and another if there is no newer | 256 KiB | |
//! | searching for it, in all its places together | half of the timeout | [`TokenClientBuilder::timeout`] |
//! | grants in the cache, and issuers known | 1,024 | [`TokenClientBuilder::capacity`] |
//! | grants that made room while they were being fetched or had failed | 4,096, or four times the capacity | |
//! | grants of one tenant | 64 | [`TokenClientBuilder::per_tenant`] |
//! | a token's lifetime | a year | |
//! | what is kept of a request's body | 64 KiB | [`AttachTokenLayer::replay_up_to`] |
//! | a request, after a 401 | sent once more; once more besides for a nonce | |
//! | nonces of servers, for each grant | 100 origins each for token requests and calls, 1 KiB each | |
//! | new tokens because one origin refuses them | 1 in 30 s | |
//! | asking a [`SecretProvider`] | 5 s | |
//! | asking it again while the server refuses its secret | once a second for 5 s, then at growing intervals, up to 30 s | |
//! | a file with a secret | 64 KiB | |
//! | a workload's token | 16 KiB | |
//! | a secret in Vault, a login included | 4 s, each answer 256 KiB | |
//! | an [`AssertionSigner`]'s answer | 5 s, and half of the timeout | [`TokenClientBuilder::timeout`] |
//! | a call to a [`TokenStore`] | 0.2 s, then a rest of 1 s if it failed | |
//! | waiting for another process's fetch | half of the timeout | [`TokenClientBuilder::timeout`] |
//!
//! # Metrics and events
//!
//! With the feature `metrics`:
//!
//! | metric | what |
//! |---|---|
//! | `tower_bearer_client_token_age_seconds` | how old tokens were that were put into a request; the histogram's count says how many |
//! | `tower_bearer_client_fetches_total{result,issuer,tenant}` | fetches: `ok`, or what they failed by; the issuer, or else the token endpoint, and the tenant that the grant names: `other` beyond 256 of each |
//! | `tower_bearer_client_fetch_duration_seconds` | how long they took |
//! | `tower_bearer_client_fetch_waits_total` | calls that waited for another's fetch |
//! | `tower_bearer_client_tokens_refused_total{result}` | tokens that a server refused: `ask_again`, or `pointless` |
//! | `tower_bearer_client_retries_total` | requests sent once more because of that |
//! | `tower_bearer_client_nonce_retries_total` | requests sent once more with the nonce that the server wants in a DPoP proof |
//! | `tower_bearer_client_cache_hits_total{cache}` | tokens found in memory (`l1`) or in the shared cache (`l2`) |
//! | `tower_bearer_client_cache_entries` | grants in all caches of the process |
//! | `tower_bearer_client_cache_evictions_total` | grants that made room for others |
//! | `tower_bearer_client_store_failures_total{call}` | calls to the shared cache that failed |
//! | `tower_bearer_client_secret_failures_total` | attempts to read the client's secret that failed |
//!
//! With the feature `tracing`, the events `client_retrieval_failed`, `client_retry_401`, `client_retry_nonce`,
//! `client_dpop_refused`, `client_dpop_clock`, `client_dpop_algorithm`, `client_scope_missing`,
//! `client_secret_replaced`, `client_secret_failed`, `client_workload_token_late`, `client_auth_method`,
//! `client_metadata`, `client_issuer_mismatch`, `client_token_endpoint`, `client_store_failed`,
//! `client_redis_connected` and `client_redis_lost`. They hold nothing that the server sent, except the
//! `issuer` of metadata, and an error's code and description, which are truncated, made printable, and left
//! out if a secret may be in them.
//!
//! # Not supported
//!
//! Refresh tokens (one that is sent is dropped), and grants that need a user's browser.

// A call asks `attach` for a token, which takes the cached one of `tokens`, or has it fetch another: from `shared`
// if another process has one, else with a request by `grant`. `dpop` makes the proofs of both requests. How the
// client authenticates is in `crate::credentials`.

#[cfg(feature = "client")]
mod attach;
#[cfg(feature = "client")]
mod dpop;
#[cfg(feature = "client")]
mod grant;
#[cfg(feature = "client")]
mod shared;
#[cfg(feature = "client")]
mod tokens;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::attach::error::{HostRefused, OriginRefused, SendError};
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::attach::future::AttachFuture;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::attach::layer::AttachTokenLayer;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::attach::replay::ReplayBody;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::attach::service::AttachToken;
#[cfg(all(feature = "client", feature = "dpop"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "client", feature = "dpop"))))]
pub use self::dpop::key::DpopKey;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::grant::builder::GrantBuilder;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::grant::definition::Grant;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::grant::error::{AnswerFault, DiscoveryFault, ErrorCode, TokenError, TokenErrorKind};
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::grant::kind::{BearerAssertion, OnBehalfOf, TokenExchange, TokenType};
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::grant::on_behalf_error::OnBehalfError;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::shared::redis::{Redis, RedisStore};
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::shared::store::{StoreError, StoreErrorKind, StoreFuture, TokenStore};
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use self::tokens::{
    client::{TokenClient, TokenClientBuilder},
    health::TokenHealth,
    on_behalf::OnBehalf,
    source::TokenSource,
    token::Token,
};
pub use crate::credentials::algorithm::AssertionAlgorithm;
pub use crate::credentials::assertion::Assertion;
pub use crate::credentials::audience::AssertionAudience;
pub use crate::credentials::authentication::ClientAuth;
#[cfg(feature = "aws-secrets-manager")]
#[cfg_attr(docsrs, doc(cfg(feature = "aws-secrets-manager")))]
pub use crate::credentials::aws_secrets_manager::AwsSecretsManager;
pub use crate::credentials::basic::BasicEncoding;
pub use crate::credentials::file::FileSecret;
pub use crate::credentials::method::AssertionType;
pub use crate::credentials::provider::{
    SecretError, SecretErrorKind, SecretFn, SecretFuture, SecretProvider,
};
pub use crate::credentials::signer::{AssertionSigner, SignatureFuture};
pub use crate::credentials::source::SecretSource;
#[cfg(feature = "vault")]
#[cfg_attr(docsrs, doc(cfg(feature = "vault")))]
pub use crate::credentials::vault::{builder::VaultBuilder, secret::Vault, secret::VaultSecret};
pub use crate::credentials::workload::WorkloadToken;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use crate::token::caller::CallerToken;
