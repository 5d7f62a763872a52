//! A bearer token in a file, which is added to requests to one origin.

use std::path::PathBuf;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use zeroize::Zeroizing;

use crate::cause::Reason;
use crate::clock::monotonic;
use crate::error::ConfigError;
use crate::file::SmallFile;
use crate::telemetry::{Repeats, event};
use crate::transport::contract::{TransportError, TransportErrorKind};
use crate::transport::origin::Origin;
use crate::transport::url::PlainHttp;

/// A bearer token in a file, for requests to one origin.
pub(crate) struct FileBearer {
    origin: Origin,
    file: SmallFile,
    warned: Repeats<()>,
}

impl FileBearer {
    pub(crate) fn new(origin: &str, path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let origin = Origin::parse(origin, PlainHttp::Refused, "")?;
        Ok(Self { origin, file: SmallFile::new(path), warned: Repeats::new() })
    }

    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    async fn value(&self) -> Result<HeaderValue, TransportError> {
        let read = self.file.read().await.map_err(unavailable)?;
        let token = read.trim_ascii();
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return Err(unavailable(Reason("the file holds no bearer token".into())));
        }
        let whole = Zeroizing::new([b"Bearer ", token].concat());
        let mut value = HeaderValue::from_bytes(&whole).map_err(unavailable)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Adds the token of the request's origin, if there is one and the request has no `Authorization` yet.
pub(crate) async fn authorize(
    bearers: &[FileBearer],
    request: &mut Request<Bytes>,
) -> Result<(), TransportError> {
    let bearer = bearers.iter().find(|bearer| bearer.origin.contains(request.uri()));
    let Some(bearer) = bearer.filter(|_| !request.headers().contains_key(AUTHORIZATION)) else {
        return Ok(());
    };
    let value = bearer.value().await.inspect_err(|_error| {
        if let Some(_times) = bearer.warned.record((), monotonic()) {
            event!(
                WARN,
                origin = %bearer.origin,
                error = ?_error,
                times = _times,
                "transport_credentials: the request isn't sent, since the bearer token can't be read"
            );
        }
    })?;
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}

fn unavailable(
    cause: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
) -> TransportError {
    TransportError::new(TransportErrorKind::Credentials).with_source(cause)
}
