//! A service that accepts tokens which are bound to a certificate, and clients that have some.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use serde::Deserialize;
use serde_json::json;
use tower::Layer as _;
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::BearerAuth;
use tower_bearer::mtls::{Certificate, ClientCertHeader, Mtls};
use tower_bearer::{BearerAuthLayer, NoClaims, Validator, ValidatorBuilder};

use crate::world::{AUDIENCE, Answer, ISSUER, Inner, Issuer, bearer, get};

pub(crate) const PROXY: &str = "10.0.0.7";

/// A row of `fixtures/mtls/certificates.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) id: String,
    #[allow(dead_code, reason = "for readers")]
    source: String,
    pub(crate) der: String,
    pub(crate) thumbprint: String,
    pub(crate) sha256: String,
    pub(crate) sha1: String,
}

impl Vector {
    pub(crate) fn decoded(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(&self.der).unwrap()
    }

    /// Lines of 64 characters between two others.
    pub(crate) fn pem(&self) -> String {
        let lines: Vec<_> =
            self.der.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let body = lines.join("\n");
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }
}

/// The certificates of RFC 9440 and RFC 8705.
pub(crate) fn vectors() -> [Vector; 2] {
    let text = include_str!("../../fixtures/mtls/certificates.json");
    let [v8, v9]: [Vector; 2] = serde_json::from_str(text).unwrap();
    assert_eq!((&*v8.id, &*v9.id), ("V8", "V9"));
    [v9, v8]
}

/// What a TLS layer leaves with a request.
#[derive(Clone)]
pub(crate) struct Connection(pub(crate) Option<Certificate>);

pub(crate) fn from_connection() -> Mtls {
    Mtls::from_connection(|connection: &Connection| connection.0)
}

pub(crate) fn address(peer: &ConnectInfo<SocketAddr>) -> Option<IpAddr> {
    Some(peer.0.ip())
}

pub(crate) fn behind(header: ClientCertHeader) -> Mtls {
    Mtls::from_header(header).trusted_proxies(["10.0.0.0/24"], address).unwrap()
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) issuer: Option<Issuer>,
    pub(crate) inner: Inner,
}

pub(crate) type Service = BearerAuth<Inner, NoClaims>;

impl World {
    pub(crate) fn new() -> Self {
        Self { issuer: Some(Issuer::new()), inner: Inner::default() }
    }

    pub(crate) fn issuer(&self) -> &Issuer {
        self.issuer.as_ref().unwrap()
    }

    pub(crate) fn builder(&self) -> ValidatorBuilder {
        let keys = Jwks::static_set(ISSUER, &self.issuer().jwks_json()).unwrap();
        Validator::builder(ISSUER, AUDIENCE).keys(keys)
    }

    pub(crate) fn layer(&self, mtls: Mtls) -> BearerAuthLayer {
        let validator = self.builder().mtls(mtls).build().unwrap();
        BearerAuthLayer::new(validator).realm("api").unwrap()
    }

    pub(crate) fn service(&self, mtls: Mtls) -> Service {
        self.layer(mtls).layer(self.inner.clone())
    }

    pub(crate) fn bound(&self, certificate: &Vector) -> String {
        self.issuer().token_with(json!({ "cnf": { "x5t#S256": certificate.thumbprint } }))
    }

    pub(crate) fn unbound(&self) -> String {
        self.issuer().token("")
    }
}

/// A request over a connection whose client has shown this certificate, if any.
pub(crate) fn over(certificate: Option<&Vector>, token: &str) -> Request<Empty<Bytes>> {
    let mut request = get("/", &[("authorization", &bearer(token))]);
    let certificate = certificate.map(|it| Certificate::from_der(&it.decoded()));
    request.extensions_mut().insert(Connection(certificate));
    request
}

/// A request from this peer, with these fields.
pub(crate) fn from(peer: &str, token: &str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = get("/", &[("authorization", &bearer(token))]);
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let peer = SocketAddr::new(peer.parse().unwrap(), 40_000);
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

/// Why it was refused, or `accepted`.
pub(crate) fn verdict(answer: &Answer) -> &'static str {
    match answer.refusal() {
        Some(refusal) => refusal.code(),
        None => "accepted",
    }
}
