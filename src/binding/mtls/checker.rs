//! Finds the certificate that a request shows, and compares it with the token's.

use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request};

use crate::binding::mtls::certificate::Certificate;
use crate::binding::mtls::field;
use crate::binding::mtls::header::Format;
use crate::binding::peers::{Peer, Peers};
use crate::refusal::{Detail, Misconfigured, Refusal, Rejection, RejectionKind};

const NO_PEER: &str = "the request has no extension that says which peer it came from, or the extension \
                       doesn't know: serve with what adds it, such as axum's \
                       into_make_service_with_connect_info, and name its type in Mtls::trusted_proxies";

/// Reads an extension; `None` if there is none of its type.
pub(crate) type ReadConnection =
    Arc<dyn Fn(&Extensions) -> Option<Option<Certificate>> + Send + Sync>;

/// Finds the certificate of a request's sender (RFC 8705 §3).
pub(crate) struct Checker {
    pub(crate) source: Source,
}

pub(crate) enum Source {
    Connection(ReadConnection),
    Header {
        name: HeaderName,
        format: Format,
        /// A field that is removed together with it.
        beside: Option<HeaderName>,
        peers: Peers,
        keep: bool,
    },
}

/// What a proxy sent.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    /// No field, or none is expected.
    None,
    One(HeaderValue),
    Many,
    /// A field, from a peer that isn't trusted.
    Untrusted,
    /// A field, from an unknown peer.
    Unknown,
}

/// What a request shows.
#[derive(Clone, Copy)]
pub(crate) enum Shown<'a> {
    Unread { field: &'a Field, extensions: &'a Extensions },
    Read(&'a Result<Certificate, Refusal>),
}

impl Checker {
    /// Removes the proxy's field from a request, whatever peer sent it.
    pub(crate) fn take<B>(&self, request: &mut Request<B>) -> Field {
        let Source::Header { name, beside, peers, keep, .. } = &self.source else {
            return Field::None;
        };
        let field = match peers.judge(request.extensions()) {
            Peer::Trusted => read(request.headers(), name),
            Peer::Other if request.headers().contains_key(name) => Field::Untrusted,
            Peer::Other => Field::None,
            Peer::Unknown => Field::Unknown,
        };
        let is_trusted = matches!(field, Field::One(_) | Field::Many);
        if !(is_trusted && *keep) {
            request.headers_mut().remove(name);
            if let Some(beside) = beside {
                request.headers_mut().remove(beside);
            }
        }
        field
    }

    /// Returns the name of the field, unless the certificate is read from the connection.
    pub(crate) const fn field_name(&self) -> Option<&HeaderName> {
        match &self.source {
            Source::Connection(_) => None,
            Source::Header { name, .. } => Some(name),
        }
    }

    /// Returns the certificate that a request shows.
    ///
    /// # Errors
    ///
    /// If it shows none, or one that can't be read.
    pub(crate) fn certificate(&self, shown: Option<Shown<'_>>) -> Result<Certificate, Refusal> {
        let (field, extensions) = match shown {
            None => return Err(missing("no request came with the token")),
            Some(Shown::Read(certificate)) => return certificate.clone(),
            Some(Shown::Unread { field, extensions }) => (field, extensions),
        };
        let format = match &self.source {
            Source::Connection(read) => {
                return match read(extensions) {
                    Some(Some(certificate)) => Ok(certificate),
                    Some(None) => Err(missing("the client showed none")),
                    None => {
                        Err(missing("the request has no extension of the type that Mtls reads"))
                    }
                };
            }
            Source::Header { format, .. } => *format,
        };
        match field {
            Field::One(value) => match field::read(format, value.as_bytes()) {
                Ok(Some(certificate)) => Ok(certificate),
                Ok(None) => Err(missing("the proxy's header is empty")),
                Err(note) => Err(refused(RejectionKind::CertificateMalformed, note)),
            },
            Field::None => Err(missing("there is no header of the proxy's")),
            Field::Many => {
                Err(refused(RejectionKind::CertificateMalformed, "there is more than one header"))
            }
            Field::Untrusted => Err(missing("its header came from a peer that isn't trusted")),
            Field::Unknown => Err(Misconfigured::new(NO_PEER).into()),
        }
    }

    /// Checks that a request shows the certificate of this thumbprint.
    pub(crate) fn check(&self, shown: Option<Shown<'_>>, thumbprint: &str) -> Result<(), Refusal> {
        if self.certificate(shown)?.is(thumbprint) {
            Ok(())
        } else {
            Err(Rejection::from(RejectionKind::CertificateMismatch).into())
        }
    }
}

fn read(headers: &HeaderMap, name: &HeaderName) -> Field {
    let mut fields = headers.get_all(name).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Field::None,
        (Some(one), None) => Field::One(one.clone()),
        // Neither the first nor the last is trusted: the proxy itself may have read the other one.
        (Some(_), Some(_)) => Field::Many,
    }
}

fn missing(note: &'static str) -> Refusal {
    refused(RejectionKind::CertificateMissing, note)
}

fn refused(kind: RejectionKind, note: &'static str) -> Refusal {
    Rejection::with(kind, Detail::Note(note)).into()
}
