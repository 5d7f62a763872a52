//! From an issuer to its `jwks_uri` (RFC 8414 §3, OpenID Connect Discovery 1.0 §4).

use std::fmt;
use std::time::Duration;

use http::Uri;
use serde::de::{MapAccess, Visitor};
use tokio::time::Instant;

use crate::clock::{UnixTime, monotonic};
use crate::json::{Any, Budget, Names, Value, read_document};
use crate::jwks::fetch_error::FetchError;
use crate::jwks::schedule::after;
use crate::jwks::source::{Fault, Network, Question, ask};
use crate::telemetry::event;
use crate::transport::{PlainHttp, metadata_places, parse_url, wants_rest};

/// What discovery found.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) jwks_uri: Uri,
    /// Which of [`Discovery::places`] had it.
    place: usize,
    /// `None` if it is to be looked up anew.
    found: Option<Instant>,
}

impl Metadata {
    const TTL: Duration = Duration::from_secs(24 * 60 * 60);

    /// Takes an address from a snapshot, which is to be looked up anew.
    pub(crate) fn remembered(jwks_uri: Uri) -> Self {
        Self { jwks_uri, place: 0, found: None }
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        self.found.is_some_and(|found| now < after(found, Self::TTL))
    }
}

/// Finds the key set of one issuer.
#[derive(Debug)]
pub(crate) struct Discovery {
    pub(crate) issuer: Box<str>,
    places: Vec<Uri>,
    plain_http: PlainHttp,
}

impl Discovery {
    /// Takes an issuer whose URL was checked: it has neither query nor fragment.
    pub(crate) fn new(issuer: &str, uri: &Uri, plain_http: PlainHttp) -> Self {
        let plain_http = plain_http.beyond(uri);
        Self { issuer: issuer.into(), places: metadata_places(uri), plain_http }
    }

    pub(crate) const fn plain_http(&self) -> PlainHttp {
        self.plain_http
    }

    /// Asks in turn wherever metadata may lie, first where it was found before.
    ///
    /// An answer that isn't this issuer's metadata counts as little as a 404: some servers answer
    /// every path with 200 and a login page.
    pub(crate) async fn find(
        &self,
        network: &Network,
        before: Option<&Metadata>,
        now: UnixTime,
    ) -> Result<Metadata, Fault> {
        let first = before.map_or(0, |metadata| metadata.place);
        let others = (0..self.places.len()).filter(|place| *place != first);
        let mut worst = Fault::from(FetchError::NoMetadata);
        for place in std::iter::once(first).chain(others) {
            let Some(uri) = self.places.get(place) else { continue };
            let question =
                Question { uri, accept: "application/json", no_cache: false, unless: None };
            let fault = match ask(network, question, now).await {
                Ok(answer) => match self.read(&answer.body) {
                    Ok(jwks_uri) => {
                        return Ok(Metadata { jwks_uri, place, found: Some(monotonic()) });
                    }
                    Err(error) => error.into(),
                },
                Err(fault) if ends_the_search(fault) => return Err(fault),
                Err(fault) => fault,
            };
            if rank(fault.error) > rank(worst.error) {
                worst = fault;
            }
        }
        Err(worst)
    }

    fn read(&self, body: &[u8]) -> Result<Uri, FetchError> {
        let budget = Budget::new();
        let document =
            read_document(body, DocumentVisitor(&budget)).map_err(|_| FetchError::NoMetadata)?;
        let issuer = document.issuer.and_then(Value::into_text).ok_or(FetchError::NoMetadata)?;
        if *issuer != *self.issuer {
            event!(
                WARN,
                issuer = &*self.issuer,
                found = crate::refusal::Excerpt::new(&issuer).as_str(),
                "jwks_issuer_mismatch: metadata of another issuer was found"
            );
            return Err(FetchError::IssuerMismatch);
        }
        let jwks_uri = document.jwks_uri.and_then(Value::into_text);
        let jwks_uri = jwks_uri.ok_or(FetchError::UnacceptableJwksUri)?;
        parse_url(&jwks_uri, self.plain_http).map_err(|_fault| {
            event!(
                WARN,
                issuer = &*self.issuer,
                reason = %_fault,
                "jwks_uri: the metadata's jwks_uri is refused"
            );
            FetchError::UnacceptableJwksUri
        })
    }
}

/// The other places are on the same server: if it can't be reached, or asks for rest, it is left
/// alone.
const fn ends_the_search(fault: Fault) -> bool {
    match fault.error {
        FetchError::Timeout
        | FetchError::UnknownHost
        | FetchError::Connect
        | FetchError::Tls
        | FetchError::BlockedAddress
        | FetchError::Exchange => true,
        FetchError::Status(status) => wants_rest(status),
        _ => false,
    }
}

/// How much an error tells: that there is metadata, but not ours, is more than that there is none.
const fn rank(error: FetchError) -> u8 {
    match error {
        FetchError::IssuerMismatch => 3,
        FetchError::UnacceptableJwksUri => 2,
        FetchError::NoMetadata => 0,
        _ => 1,
    }
}

#[derive(Default)]
struct Document<'a> {
    issuer: Option<Value<'a>>,
    jwks_uri: Option<Value<'a>>,
}

struct DocumentVisitor<'b>(&'b Budget);

impl<'de> Visitor<'de> for DocumentVisitor<'_> {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut document = Document::default();
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.0)? {
            let slot = match name.as_ref() {
                "issuer" => &mut document.issuer,
                "jwks_uri" => &mut document.jwks_uri,
                _ => {
                    map.next_value_seed(Any::skip(self.0))?;
                    continue;
                }
            };
            *slot = Some(map.next_value_seed(Any::keep(self.0))?);
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(issuer: &str, body: &str) -> Result<String, FetchError> {
        let discovery = Discovery::new(issuer, &issuer.parse().unwrap(), PlainHttp::Loopback);
        discovery.read(body.as_bytes()).map(|uri| uri.to_string())
    }

    #[test]
    fn the_issuer_must_be_identical() {
        let body = |issuer: &str| {
            format!(r#"{{"issuer":"{issuer}","jwks_uri":"https://k.example/j","scopes":["a"]}}"#)
        };
        let issuer = "https://a.example/x";
        assert_eq!(read(issuer, &body(issuer)).as_deref(), Ok("https://k.example/j"));
        for other in ["https://a.example/x/", "https://A.example/x", "https://a.example", ""] {
            assert_eq!(read(issuer, &body(other)), Err(FetchError::IssuerMismatch), "{other}");
        }
    }

    #[test]
    fn what_isnt_metadata_is_none() {
        for body in [
            "",
            "<html>",
            "[]",
            "null",
            "{}",
            r#"{"issuer":7}"#,
            r#"{"issuer":null}"#,
            r#"{"issuer":"https://a.example","issuer":"https://a.example"}"#,
            r#"{"issuer":"https://a.example","a":{"$serde_json::private::RawValue":"1"}}"#,
            r#"{"$serde_json::private::RawValue":"{}"}"#,
            "\u{feff}\u{feff}{\"issuer\":\"https://a.example\"}",
        ] {
            assert_eq!(read("https://a.example", body), Err(FetchError::NoMetadata), "{body}");
        }
    }

    #[test]
    fn fb7_a_byte_order_mark_and_members_that_are_null_dont_matter() {
        let body = r#"{"issuer":"https://a.example","jwks_uri":"https://a.example/k","a":null}"#;
        for body in [body.to_owned(), format!("\u{feff}{body}")] {
            assert!(read("https://a.example", &body).is_ok(), "{body:?}");
        }
    }

    #[test]
    fn the_jwks_uri_is_checked_like_a_configured_one() {
        let try_uri = |issuer: &str, jwks_uri: &str| {
            read(issuer, &format!(r#"{{"issuer":"{issuer}","jwks_uri":{jwks_uri}}}"#)).is_ok()
        };
        assert!(try_uri("https://a.example", "\"https://b.example/k\""));
        assert!(try_uri("http://127.0.0.1:1", "\"http://127.0.0.1:1/k\""));
        assert!(try_uri("http://127.0.0.1:1", "\"https://b.example/k\""));
        for (issuer, jwks_uri) in [
            ("https://a.example", "\"http://b.example/k\""),
            ("https://a.example", "\"http://127.0.0.1/k\""),
            ("https://a.example", "\"https://u:p@b.example/k\""),
            ("https://a.example", "\"file:///etc/passwd\""),
            ("https://a.example", "\"/k\""),
            ("https://a.example", "null"),
            ("https://a.example", "[\"https://b.example/k\"]"),
            ("http://127.0.0.1:1", "\"http://b.example/k\""),
        ] {
            assert!(!try_uri(issuer, jwks_uri), "{issuer} {jwks_uri}");
        }
    }
}
