//! Many issuers: a list of them, and tenants.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::json;
use tokio::runtime::Runtime;
use tower_bearer::Validator;
use tower_bearer::issuers::{IssuersBuilder, Tenant, Tenants};
use tower_bearer::jwks::Jwks;

use crate::scripted::{Scripted, runtime};
use crate::tokens::{AUDIENCE, ISSUER, Issuer, Signing, key_set, key_set_for, message};

/// How many issuers there are, of a list.
pub const MANY: usize = 1_000;

/// A name as long as that of the one issuer.
pub fn name(number: usize) -> String {
    format!("https://login.example.com/realms/r{number:09}")
}

/// A list of issuers, with the one that there is otherwise among them. All have a key of this
/// algorithm only.
pub fn among(signing: Signing) -> IssuersBuilder {
    let keys = key_set_for(signing).to_string();
    let others = (1..MANY).map(name);
    Validator::issuers(others.chain([ISSUER.to_owned()]).map(|name| {
        let keys = Jwks::static_set(&name, &keys).unwrap();
        tower_bearer::issuers::Issuer::new(name, AUDIENCE).keys(keys)
    }))
}

/// Tenants, as many of them as one likes, of which a few are live.
pub struct Realms {
    pub validator: Validator,
    runtime: Arc<Runtime>,
    issuer: Issuer,
}

impl Realms {
    /// With this many live, and so many remembered tokens.
    pub fn new(live: usize, cache_entries: usize) -> Self {
        let resolver = |tenant: Tenant| {
            let is_known = tenant.name().starts_with('r');
            let issuer = is_known.then(|| {
                let keys = Jwks::url(tenant.issuer(), format!("{}/keys", tenant.issuer()));
                tower_bearer::issuers::Issuer::new(tenant.issuer(), AUDIENCE).keys(keys)
            });
            ready(Ok(issuer))
        };
        let tenants = Tenants::new("https://login.example.com/realms/{realm}", resolver)
            .max_live(live)
            .transport(Scripted(key_set));
        let validator = Validator::issuers([]).tenants(tenants).cache_entries(cache_entries);
        let validator = validator.build().unwrap();
        Self { validator, runtime: Arc::new(runtime()), issuer: Issuer::new(Signing::EdDsa) }
    }

    pub fn token(&self, tenant: usize) -> String {
        self.issuer.token_with("iss", name(tenant))
    }

    /// Lets a token of each of these tenants come.
    pub fn visit(&self, tenants: impl Iterator<Item = usize>) {
        self.runtime.block_on(async {
            for tenant in tenants {
                self.validator.validate(&self.token(tenant)).await.unwrap();
            }
            settle().await;
        });
    }

    /// How many tasks there are.
    pub fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// How many tasks there are once the validator is gone.
    pub fn end(self) -> usize {
        let Self { validator, runtime, .. } = self;
        drop(validator);
        runtime.block_on(settle());
        runtime.metrics().num_alive_tasks()
    }
}

/// Lets tasks end whose time has come.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Strangers on a thread of their own, who name tenants that there aren't, one after the other.
pub struct Strangers {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Strangers {
    /// Sends them. The tenants' own tasks run on their thread.
    pub fn start(to: &Realms) -> Self {
        let (validator, runtime) = (to.validator.clone(), Arc::clone(&to.runtime));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let mut number = 0_usize;
                while !stopped.load(Ordering::Relaxed) {
                    number += 1;
                    assert!(validator.validate(&stranger(number)).await.is_err());
                }
            });
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A token of a tenant that there isn't.
fn stranger(number: usize) -> String {
    let header = json!({ "alg": "EdDSA", "kid": "made-up" });
    let mut claims = Issuer::claims(number);
    claims["iss"] = format!("https://login.example.com/realms/m{number:09}").into();
    format!("{}.AAAA", message(&header, &claims))
}
