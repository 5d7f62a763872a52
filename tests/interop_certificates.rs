//! Clients that authenticate with a certificate (RFC 8705), against `oidc-provider`: by an authority's
//! and by one of their own making, with certificates that are swapped on disk under load.

#![allow(clippy::expect_used)]
#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData as _,
};
use serde_json::{Value, json};
use support::authorization_server::{AUDIENCE, AuthorizationServer};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower_bearer::Validator;
use tower_bearer::client::{ClientAuth, Grant, GrantBuilder, TokenClient, TokenErrorKind};
use tower_bearer::introspection::Introspection;
use tower_bearer::transport::ReqwestTransport;

/// A certificate and its key, both as PEM, and the certificate's thumbprint.
struct Pair {
    chain: String,
    key: String,
    thumbprint: String,
    jwk: Value,
}

impl Pair {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        let der = certificate.der();
        // After the 4 of an uncompressed point.
        let point = key.der_bytes().get(1..).expect("a point");
        let (x, y) = point.split_at(32);
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        Self {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            thumbprint: encode(digest(&SHA256, der).as_ref()),
            jwk: json!({
                "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y),
                "x5c": [BASE64_STANDARD.encode(der)],
            }),
        }
    }

    fn self_signed() -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["client.example".to_owned()]).expect("a name");
        Self::new(&params.self_signed(&key).expect("a certificate"), &key)
    }
}

/// An authority, and a folder with what the server and its clients need.
struct World {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    own: [Pair; 2],
    server: AuthorizationServer,
}

impl World {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = support::process::scratch("certificates");
        fs::create_dir_all(&folder).expect("a folder");
        let own = [Pair::self_signed(), Pair::self_signed()];
        let server = issue(&authority, "127.0.0.1");
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("server.pem", server.chain),
            ("server.key", server.key),
            ("clients.json", json!({ "keys": [own[0].jwk, own[1].jwk] }).to_string()),
        ] {
            fs::write(folder.join(name), text).expect("a file");
        }
        let server = AuthorizationServer::oidc_provider_with_certificates(&folder);
        Self { authority, folder, own, server }
    }

    fn client(&self) -> Pair {
        issue(&self.authority, "client.example")
    }

    /// Lays a pair where the clients look for it, as Kubernetes does: by a link that leads elsewhere.
    fn lay(&self, pair: &Pair) {
        let name = format!("..{}", pair.thumbprint);
        let to = self.folder.join(&name);
        fs::create_dir_all(&to).expect("a folder");
        fs::write(to.join("tls.crt"), &pair.chain).expect("a file");
        fs::write(to.join("tls.key"), &pair.key).expect("a file");
        let link = |to: &str, name: &str| {
            let next = self.folder.join("..next");
            std::os::unix::fs::symlink(to, &next).expect("a link");
            fs::rename(next, self.folder.join(name)).expect("a link");
        };
        link(&name, "..data");
        for file in ["tls.crt", "tls.key"] {
            if !self.folder.join(file).is_symlink() {
                link(&format!("..data/{file}"), file);
            }
        }
    }

    fn transport(&self) -> ReqwestTransport {
        let file = |name: &str| self.folder.join(name);
        ReqwestTransport::builder()
            .root_certificates(self.authority.pem())
            .client_certificate_files(file("tls.crt"), file("tls.key"))
            .build()
            .expect("a transport")
    }

    fn grant(&self, client_id: &str) -> GrantBuilder {
        Grant::discover(self.server.issuer(), ClientAuth::tls(client_id))
            .scope("api:read")
            .allow_loopback_http()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _gone_already = fs::remove_dir_all(&self.folder);
    }
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Pair {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    // Otherwise it has the authority's name, and OpenSSL takes it for self-signed.
    params.distinguished_name.push(DnType::CommonName, name);
    Pair::new(&params.signed_by(&key, authority).expect("a certificate"), &key)
}

fn client(transport: &ReqwestTransport) -> TokenClient {
    TokenClient::builder().transport(transport.clone()).build().expect("a client")
}

/// Returns the thumbprint of the certificate that a token is bound to.
fn bound_to(token: &str) -> String {
    let claims = token.split('.').nth(1).expect("a JWT");
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    claims["cnf"]["x5t#S256"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn mt29_mt30_mt31_a_certificate_is_all_that_it_takes() {
    let world = World::new();
    let by_authority = world.client();
    world.lay(&by_authority);
    let transport = world.transport();
    let tokens = client(&transport);
    let get = async |grant: GrantBuilder| {
        let token = tokens.token(&grant.build().expect("a good grant")).await;
        token.map(|token| bound_to(token.expose_secret()))
    };
    // The issuer itself has no TLS: the alias is where certificates are asked for.
    assert_eq!(get(world.grant("tls")).await.expect("a token"), by_authority.thumbprint);
    let error = get(world.grant("tls").root_endpoint()).await.expect_err("no certificate");
    assert!(matches!(error.kind(), TokenErrorKind::Refused(_)), "{error}");
    // Another's certificate.
    let error = get(world.grant("self-signed")).await.expect_err("unknown");
    assert!(matches!(error.kind(), TokenErrorKind::Refused(_)), "{error}");

    let [own, _] = &world.own;
    world.lay(own);
    sleep(Duration::from_millis(1_100)).await;
    let tokens = client(&transport);
    let token = tokens.token(&world.grant("self-signed").build().expect("a good grant")).await;
    assert_eq!(bound_to(token.expect("a token").expose_secret()), own.thumbprint);
    let token = tokens.token(&world.grant("tls").build().expect("a good grant")).await;
    assert!(token.is_err(), "no authority has signed it");

    // Introspection goes by the same transport, and to its own alias.
    world.lay(&by_authority);
    sleep(Duration::from_millis(1_100)).await;
    let validator = |introspection: Introspection| {
        let introspection = introspection.transport(transport.clone());
        Validator::builder(world.server.issuer(), AUDIENCE).introspection(introspection)
    };
    let asking = || Introspection::discover(ClientAuth::tls("tls"));
    let opaque = world.server.token("opaque", "api:read").await;
    let good = validator(asking()).build().expect("a validator");
    assert!(good.validate(&opaque).await.is_ok());
    let by_root = validator(asking().root_endpoint()).build().expect("a validator");
    assert!(by_root.validate(&opaque).await.is_err());
}

// Every exchange succeeds while the files are swapped, and half of a pair is there now and then; and the
// token that is kept is replaced by one for the new certificate.
#[tokio::test(flavor = "multi_thread")]
async fn mt32_certificates_are_swapped_on_disk_under_load() {
    let world = World::new();
    let mut pairs = vec![world.client()];
    world.lay(&pairs[0]);
    let transport = world.transport();
    let kept = client(&transport).source(&world.grant("tls").build().expect("a good grant"));
    let first = kept.token().await.expect("a token");
    assert_eq!(bound_to(first.expose_secret()), pairs[0].thumbprint);

    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let (calls, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let grant = world.grant("tls").build().expect("a good grant");
        let (transport, kept) = (transport.clone(), kept.clone());
        let (seen, calls, ends) = (Arc::clone(&seen), Arc::clone(&calls), Arc::clone(&ends));
        callers.spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                // A cache of its own: each time a request.
                let token = client(&transport).token(&grant).await.expect("no failed call");
                seen.lock().expect("a set").insert(bound_to(token.expose_secret()));
                kept.token().await.expect("no failed call");
                calls.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let until_seen = async |pair: &Pair| {
        let began = Instant::now();
        while !seen.lock().expect("a set").contains(&pair.thumbprint) {
            assert!(began.elapsed() < Duration::from_secs(20), "a certificate isn't presented");
            sleep(Duration::from_millis(20)).await;
        }
    };
    until_seen(&pairs[0]).await;
    for round in 0..3 {
        sleep(Duration::from_millis(500)).await;
        let next = world.client();
        if round == 1 {
            // One file after the other, with a pause in which they don't fit.
            half_written(&world.folder, &pairs[round], &next).await;
        }
        world.lay(&next);
        until_seen(&next).await;
        pairs.push(next);
    }
    ends.store(true, Ordering::Relaxed);
    while let Some(caller) = callers.join_next().await {
        caller.expect("no failed call");
    }
    let all: BTreeSet<String> = pairs.iter().map(|pair| pair.thumbprint.clone()).collect();
    assert_eq!(*seen.lock().expect("a set"), all, "{calls:?} calls");
    // It was replaced in the background, though it had minutes left.
    let newest = &pairs.last().expect("some").thumbprint;
    let began = Instant::now();
    while bound_to(kept.token().await.expect("a token").expose_secret()) != *newest {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the token of another certificate stays"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

async fn half_written(folder: &Path, old: &Pair, next: &Pair) {
    let write = |pair: &Pair, file: &str, text: &str| {
        fs::write(folder.join("..data").join(file), text).expect("a file");
        pair.thumbprint.clone()
    };
    write(next, "tls.crt", &next.chain);
    sleep(Duration::from_millis(1_200)).await;
    write(next, "tls.crt", &next.chain[..next.chain.len() / 2]);
    sleep(Duration::from_millis(1_200)).await;
    write(old, "tls.crt", &old.chain);
}
