//! Binds MCP session ids, and the ids of events, to the principal that they were issued to.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::digest::{Hmac, NoRandomness, random};
use crate::error::ConfigError;
use crate::secret::Secret;
use crate::token::Claims;

pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What an id is of: a tag of one kind is none of the other.
const SESSION: &str = "tower-bearer mcp session";
const EVENT: &str = "tower-bearer mcp event";

/// Separates an id from its tag. An id contains it only if the inner server puts it there.
const MARK: u8 = b'~';
const TAG_BYTES: usize = 16;

/// Binds session ids to the principal that they were issued to, without storing any: the client receives
/// the id with a tag, which only that principal can use.
#[derive(Clone)]
pub(crate) struct Sessions {
    key: Secret,
}

/// The session or the event belongs to another principal.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct NotTheirs;

impl Sessions {
    /// Generates a key: sessions belong to this process.
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        Ok(Self { key: Secret::new(random::<32>()?.to_vec()) })
    }

    pub(crate) fn new(key: Secret) -> Result<Self, ConfigError> {
        if key.expose().len() < 32 {
            return Err(ConfigError::new(
                "the key of MCP sessions is too short: use at least 32 random bytes",
            ));
        }
        Ok(Self { key })
    }

    /// Removes the tags from the ids of the session and of the last event of a request, if it has them.
    pub(crate) fn open(
        &self,
        headers: &mut HeaderMap,
        principal: Option<&Claims>,
    ) -> Result<(), NotTheirs> {
        self.open_one(&SESSION_ID, SESSION, headers, principal)?;
        self.open_one(&LAST_EVENT_ID, EVENT, headers, principal)
    }

    fn open_one(
        &self,
        name: &HeaderName,
        kind: &str,
        headers: &mut HeaderMap,
        principal: Option<&Claims>,
    ) -> Result<(), NotTheirs> {
        let mut ids = headers.get_all(name).iter();
        let Some(tagged) = ids.next() else { return Ok(()) };
        if ids.next().is_some() {
            return Err(NotTheirs);
        }
        let tagged = tagged.as_bytes();
        if tagged.is_empty() {
            headers.remove(name);
            return Ok(());
        }
        let mark = tagged.iter().rposition(|byte| *byte == MARK).ok_or(NotTheirs)?;
        let (id, tag) = tagged.split_at_checked(mark).ok_or(NotTheirs)?;
        let tag =
            URL_SAFE_NO_PAD.decode(tag.get(1..).unwrap_or_default()).map_err(|_| NotTheirs)?;
        let expected = self.tag(kind, id, principal);
        // Takes the same time wherever they differ.
        let differences = tag.iter().zip(expected).fold(0, |all, (one, two)| all | (one ^ two));
        if tag.len() != TAG_BYTES || differences != 0 {
            return Err(NotTheirs);
        }
        let id = HeaderValue::from_bytes(id).map_err(|_| NotTheirs)?;
        headers.insert(name, id);
        Ok(())
    }

    /// Adds the tag to the session ids of a response.
    pub(crate) fn close(&self, headers: &mut HeaderMap, principal: Option<&Claims>) {
        let Some(id) = headers.get_mut(SESSION_ID) else { return };
        let tag = self.written(SESSION, id.as_bytes(), principal);
        let tagged = [id.as_bytes(), tag.as_bytes()].concat();
        if let Ok(tagged) = HeaderValue::from_bytes(&tagged) {
            *id = tagged;
        }
    }

    /// Returns what is appended to the id of an event.
    pub(crate) fn event_tag(&self, id: &[u8], principal: Option<&Claims>) -> String {
        self.written(EVENT, id, principal)
    }

    fn written(&self, kind: &str, id: &[u8], principal: Option<&Claims>) -> String {
        format!("{}{}", char::from(MARK), URL_SAFE_NO_PAD.encode(self.tag(kind, id, principal)))
    }

    fn tag(&self, kind: &str, id: &[u8], principal: Option<&Claims>) -> [u8; TAG_BYTES] {
        let hmac = Hmac::new(self.key.expose()).part(kind).part(id);
        // RFC 9068 §5: a `sub` may be a client's id, or the same as that of another client's user.
        let hmac = match principal.map(|claims| (claims, claims.subject(), claims.client_id())) {
            None => hmac.part("nobody"),
            Some((claims, Some(subject), _)) => {
                hmac.part("subject").part(claims.issuer()).part(subject)
            }
            Some((claims, None, Some(client))) => {
                hmac.part("client").part(claims.issuer()).part(client)
            }
            Some((claims, None, None)) => hmac.part("issuer").part(claims.issuer()),
        };
        let mut tag = [0; TAG_BYTES];
        tag.iter_mut().zip(hmac.finish()).for_each(|(to, from)| *to = from);
        tag
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}
