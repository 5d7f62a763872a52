//! Which header field a proxy sends the client's certificate in, and in which format.

use std::borrow::Cow;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, HOST};

use crate::error::ConfigError;

/// The field in which a proxy sends the client's certificate, for [`Mtls::from_header`](crate::mtls::Mtls::from_header).
///
/// | proxy | what it must be told |
/// |---|---|
/// | those that follow RFC 9440 | see [`rfc9440`](Self::rfc9440) |
/// | Envoy, Istio | `forward_client_cert_details: SANITIZE_SET`: see [`envoy`](Self::envoy) |
/// | nginx | `proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;`: see [`nginx`](Self::nginx) |
/// | AWS Application Load Balancer | mutual TLS with a trust store: see [`alb`](Self::alb) |
/// | HAProxy | `http-request set-header X-SSL-Client-DER %[ssl_c_der,base64]`: see [`base64_der`](Self::base64_der) |
/// | Caddy | `header_up X-Client-Cert {http.request.tls.client.certificate_der_base64}`: see [`base64_der`](Self::base64_der) |
/// | Traefik | `passTLSClientCert` with `pem: true`: [`base64_der`](Self::base64_der) of `X-Forwarded-Tls-Client-Cert` |
///
/// Each must replace or remove what the client itself sends under that name.
/// A field that is absent or empty means that the client has shown no certificate; two, and
/// anything in another format, are refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertHeader {
    name: Cow<'static, str>,
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    Rfc9440,
    Envoy,
    EnvoyAppended,
    EscapedPem,
    Base64Der,
}

impl ClientCertHeader {
    /// `Client-Cert: :MIIB…=:` (RFC 9440): a byte sequence of RFC 8941 that is the certificate's DER.
    /// `Client-Cert-Chain` isn't read, and is removed with it.
    pub const fn rfc9440() -> Self {
        Self::fixed("client-cert", Format::Rfc9440)
    }

    /// `X-Forwarded-Client-Cert: By=…;Hash=…;Cert="…"`, of an Envoy that replaces what it receives
    /// (`SANITIZE_SET`): there must be exactly one element. `Hash` is enough; if `Cert` is present as
    /// well, both must agree.
    pub const fn envoy() -> Self {
        Self::fixed("x-forwarded-client-cert", Format::Envoy)
    }

    /// The same, of an Envoy that appends to what it receives (`APPEND_FORWARD`): only the last element
    /// counts.
    ///
    /// Prefer [`envoy`](Self::envoy): Envoy writes the URIs of a certificate as they are, so that one with
    /// a comma would begin an element of its own. Authorities must issue none.
    pub const fn envoy_appended() -> Self {
        Self::fixed("x-forwarded-client-cert", Format::EnvoyAppended)
    }

    /// `X-Amzn-Mtls-Clientcert-Leaf`, of an AWS Application Load Balancer in the mode "verify with trust
    /// store": percent-encoded PEM, in which `+`, `=` and `/` stand for themselves.
    pub const fn alb() -> Self {
        Self::fixed("x-amzn-mtls-clientcert-leaf", Format::EscapedPem)
    }

    /// Percent-encoded PEM of one certificate in a field of this name: `$ssl_client_escaped_cert` of nginx.
    ///
    /// `$ssl_client_fingerprint` isn't enough: it is a SHA-1.
    pub fn nginx(name: &str) -> Self {
        Self { name: name.to_owned().into(), format: Format::EscapedPem }
    }

    /// Base64 of the DER of one certificate in a field of this name, as HAProxy, Caddy and Traefik send it.
    pub fn base64_der(name: &str) -> Self {
        Self { name: name.to_owned().into(), format: Format::Base64Der }
    }

    const fn fixed(name: &'static str, format: Format) -> Self {
        Self { name: Cow::Borrowed(name), format }
    }

    pub(crate) fn name(&self) -> Result<HeaderName, ConfigError> {
        let name: HeaderName = self.name.parse().map_err(|_| {
            ConfigError::new(format!("{:?} isn't the name of a header field", self.name))
        })?;
        // It is removed from requests.
        if [AUTHORIZATION, COOKIE, HOST].contains(&name) || name == "dpop" {
            return Err(ConfigError::new(format!(
                "the client's certificate can't come in {name}, which has another purpose: give the \
                 field a name of its own"
            )));
        }
        Ok(name)
    }
}
