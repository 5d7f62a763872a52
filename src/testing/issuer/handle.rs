//! The handle of a running embedded issuer: make tokens, rotate keys, inject faults, read counters.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use crate::error::ConfigError;
use crate::jose::Algorithm;
use crate::testing::issuer::client;
use crate::testing::issuer::endpoint::{Counters, Endpoint};
use crate::testing::issuer::fault::Fault;
use crate::testing::issuer::in_process::IssuerTransport;
use crate::testing::issuer::server::Server;
use crate::testing::issuer::state::{DEFAULT_AUDIENCE, State};
use crate::testing::misuse::{lock, misuse};
use crate::testing::tokens::key::TestKey;
use crate::testing::tokens::token::TokenBuilder;

/// An authorization server on loopback, for tests and examples.
///
/// It serves metadata, a key set and the client-credentials grant over plain HTTP, from its own
/// thread, until it is dropped. It must not be used in production; see the [module](crate::testing).
#[derive(Debug)]
pub struct TestIssuer {
    pub(crate) state: Arc<State>,
    /// The server, which this issuer may share with the one that it was added to.
    pub(crate) served: Arc<State>,
    pub(crate) server: Arc<Server>,
    pub(crate) address: SocketAddr,
}

impl TestIssuer {
    /// The identifier of the client that is registered by default.
    pub const CLIENT_ID: &str = client::DEFAULT_ID;
    /// The secret of that client.
    pub const CLIENT_SECRET: &str = client::DEFAULT_SECRET;
    /// The default audience of tokens.
    pub const AUDIENCE: &str = DEFAULT_AUDIENCE;

    pub(crate) fn new(state: Arc<State>, server: Server, address: SocketAddr) -> Self {
        Self { served: Arc::clone(&state), state, server: Arc::new(server), address }
    }

    /// Returns the issuer identifier: the `iss` of its tokens, and where discovery starts.
    pub fn issuer(&self) -> &str {
        &self.state.config.issuer
    }

    /// Returns the URL of the key set.
    pub fn jwks_uri(&self) -> String {
        self.state.config.url("jwks")
    }

    /// Returns the URL of the token endpoint.
    pub fn token_endpoint(&self) -> String {
        self.state.config.url("token")
    }

    /// Returns the URL of the introspection endpoint.
    pub fn introspection_endpoint(&self) -> String {
        self.state.config.url("introspect")
    }

    /// Makes the introspection endpoint report a token as inactive from now on, even one that the issuer
    /// never made.
    ///
    /// A JWT stays valid for services that check its signature.
    pub fn revoke(&self, token: &str) {
        lock(&self.state.revoked).insert(token.into());
    }

    /// Returns the address that the issuer listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the audience of tokens that are requested without one.
    pub fn audience(&self) -> &str {
        &self.state.config.audience
    }

    /// Returns a [`Transport`](crate::transport::Transport) that asks this issuer without a network,
    /// and therefore works under tokio's paused time.
    pub fn transport(&self) -> IssuerTransport {
        IssuerTransport::new(Arc::clone(&self.served))
    }

    /// Starts building a token, without a request to the token endpoint.
    pub fn token(&self) -> TokenBuilder<'_> {
        TokenBuilder::new(&self.state)
    }

    /// Returns the key that signs, for the issuer's first algorithm.
    #[track_caller]
    pub fn signing_key(&self) -> TestKey {
        let Some(key) = lock(&self.state.ring).default_signing().cloned() else {
            misuse("the embedded issuer has no keys");
        };
        key
    }

    /// Returns the key that signs with this algorithm, if the issuer was started with it.
    pub fn signing_key_for(&self, algorithm: Algorithm) -> Option<TestKey> {
        lock(&self.state.ring).signing(algorithm).cloned()
    }

    /// Returns the key of this `kid`, even if it is no longer published.
    pub fn key(&self, kid: &str) -> Option<TestKey> {
        lock(&self.state.ring).find(kid).cloned()
    }

    /// Returns the keys that are published.
    pub fn published_keys(&self) -> Vec<TestKey> {
        lock(&self.state.ring).published().cloned().collect()
    }

    /// Publishes a new key for each algorithm next to the old ones, and signs with the new.
    ///
    /// Tokens of the old keys stay valid until [`retire_old_keys`](Self::retire_old_keys). Returns
    /// the `kid` of the new key for the first algorithm.
    pub fn rotate_overlapping(&self) -> String {
        let kid = self.prepublish_keys();
        self.activate_keys();
        kid
    }

    /// Publishes a new key for each algorithm, and continues to sign with the old ones.
    ///
    /// Returns the `kid` of the new key for the first algorithm.
    pub fn prepublish_keys(&self) -> String {
        let keys = self.state.new_keys();
        lock(&self.state.ring).prepublish(keys)
    }

    /// Signs from now on with the keys that were published ahead; the old ones stay published.
    pub fn activate_keys(&self) {
        lock(&self.state.ring).activate();
    }

    /// Replaces all keys at once: from now on the old ones are neither used nor published.
    ///
    /// Returns the `kid` of the new key for the first algorithm.
    pub fn rotate_hard(&self) -> String {
        let keys = self.state.new_keys();
        let mut ring = lock(&self.state.ring);
        let kid = ring.prepublish(keys);
        ring.activate();
        ring.retire_old();
        kid
    }

    /// Replaces all keys at once, each under the `kid` of the old one, as a server does that
    /// names its key `default`.
    pub fn rotate_same_kid(&self) {
        let keys = self.state.new_keys();
        lock(&self.state.ring).replace_material(keys);
    }

    /// Withdraws all keys that no longer sign; verifiers that refresh the set refuse their tokens.
    pub fn retire_old_keys(&self) {
        lock(&self.state.ring).retire_old();
    }

    /// Withdraws the key of this `kid`. Returns `true` if it was published.
    ///
    /// If it is the key that signs, it continues to sign, and no verifier can accept its tokens.
    pub fn retire_key(&self, kid: &str) -> bool {
        lock(&self.state.ring).retire(kid)
    }

    /// Adds any JSON to the key set: a foreign key, one of an unknown type, a broken one.
    pub fn publish_jwk(&self, jwk: impl Into<Value>) {
        lock(&self.state.ring).publish_foreign(jwk.into());
    }

    /// Sets a member of the metadata, in both documents; `null` removes it.
    pub fn set_metadata(&self, name: &str, value: impl Into<Value>) {
        lock(&self.state.metadata).insert(name.into(), value.into());
    }

    /// Makes an endpoint misbehave. This replaces any earlier fault.
    pub fn inject(&self, endpoint: Endpoint, fault: Fault) {
        self.state.faults.send_modify(|faults| faults.set(endpoint, fault));
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.state.faults.send_modify(|faults| faults.clear());
    }

    /// Returns the counters of requests.
    pub fn counters(&self) -> Counters {
        self.state.counters.borrow().clone()
    }

    /// Resets the counters to zero.
    pub fn reset_counters(&self) {
        self.state.counters.send_replace(Counters::default());
    }

    /// Waits until an endpoint has had this many requests.
    ///
    /// It returns at once if the endpoint already has. A test that waits this way, instead of sleeping,
    /// is neither slow nor flaky; put a timeout around it, since it waits without bound.
    pub async fn wait_for_requests(&self, endpoint: Endpoint, count: u64) {
        let mut counters = self.state.counters.subscribe();
        // This can't fail, since the sender lives as long as `self`.
        let _ = counters.wait_for(|counters| counters.requests(endpoint) >= count).await;
    }

    /// Returns the last request that an endpoint had, to look at its headers or its body.
    pub fn last_request(&self, endpoint: Endpoint) -> Option<Request<Bytes>> {
        lock(&self.state.last).get(&endpoint).cloned()
    }

    /// Stops serving, as if the process were killed: open connections break, new ones are refused.
    ///
    /// The port stays reserved. Keys, faults and counters stay as they are, and
    /// [`token`](Self::token) continues to work.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Serves again, on the same port.
    ///
    /// # Errors
    ///
    /// If the port can't be listened on, because another process has taken it meanwhile.
    pub async fn restart(&self) -> Result<(), ConfigError> {
        self.server.restart().await.map_err(|error| {
            ConfigError::new(format!("can't listen on {} again", self.address)).because(error)
        })
    }
}
