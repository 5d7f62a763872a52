//! Binds MCP session ids to the principal that they were issued to.

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

/// Separates a session's id from its tag. An id contains it only if the inner server puts it there.
const MARK: char = '~';
const TAG_BYTES: usize = 16;

/// Binds session ids to the principal that they were issued to, without storing any: the client receives
/// the id with a tag, which only that principal can use.
#[derive(Clone)]
pub(crate) struct Sessions {
    key: Secret,
}

/// The session belongs to another principal.
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

    /// Removes the tag from the session id of a request, if it has one.
    pub(crate) fn open(
        &self,
        headers: &mut HeaderMap,
        principal: Option<&Claims>,
    ) -> Result<(), NotTheirs> {
        let mut ids = headers.get_all(SESSION_ID).iter();
        let Some(tagged) = ids.next() else { return Ok(()) };
        if ids.next().is_some() {
            return Err(NotTheirs);
        }
        let (id, tag) =
            tagged.to_str().ok().and_then(|it| it.rsplit_once(MARK)).ok_or(NotTheirs)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| NotTheirs)?;
        let expected = self.tag(id.as_bytes(), principal);
        // Takes the same time wherever they differ.
        let differences = tag.iter().zip(expected).fold(0, |all, (one, two)| all | (one ^ two));
        if tag.len() != TAG_BYTES || differences != 0 {
            return Err(NotTheirs);
        }
        let id = HeaderValue::from_str(id).map_err(|_| NotTheirs)?;
        headers.insert(SESSION_ID, id);
        Ok(())
    }

    /// Adds the tag to the session ids of a response.
    pub(crate) fn close(&self, headers: &mut HeaderMap, principal: Option<&Claims>) {
        let Some(id) = headers.get_mut(SESSION_ID) else { return };
        let tag = URL_SAFE_NO_PAD.encode(self.tag(id.as_bytes(), principal));
        let tagged = [id.as_bytes(), MARK.to_string().as_bytes(), tag.as_bytes()].concat();
        if let Ok(tagged) = HeaderValue::from_bytes(&tagged) {
            *id = tagged;
        }
    }

    fn tag(&self, id: &[u8], principal: Option<&Claims>) -> [u8; TAG_BYTES] {
        let hmac = Hmac::new(self.key.expose()).part("tower-bearer mcp session").part(id);
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
