use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::metadata::description::ResourceMetadata;
use crate::metadata::document::Facts;
use crate::metadata::place::WELL_KNOWN;

/// The document of one resource, made once.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Path and query.
    pub(crate) path: Box<str>,
    pub(crate) has_alias: bool,
    body: Bytes,
    etag: HeaderValue,
    cache_control: HeaderValue,
}

/// What there is at a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    Document(&'a Endpoint),
    /// Below the well-known path, but none of these resources.
    Absent,
}

impl Endpoint {
    pub(crate) fn new(metadata: &ResourceMetadata, facts: &Facts) -> Self {
        let body = metadata.document(facts);
        let mut hasher = DefaultHasher::new();
        hasher.write(&body);
        let etag = format!("\"{:016x}\"", hasher.finish());
        let cache_control = match metadata.cache_for.as_secs() {
            0 => "no-cache".to_owned(),
            secs => format!("public, max-age={secs}"),
        };
        // Both are made of hexadecimal digits and words from here.
        let value = |text: String| {
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("no-cache"))
        };
        Self {
            path: metadata.place.path.clone(),
            has_alias: metadata.root_alias && !metadata.place.is_root(),
            body,
            etag: value(etag),
            cache_control: value(cache_control),
        }
    }

    /// Returns `true` if this is the document of a path.
    fn is_at(&self, path: &str, query: Option<&str>) -> bool {
        match self.path.split_once('?') {
            Some((own, own_query)) => own == path && Some(own_query) == query,
            // What follows a `?` may be there to get past a cache.
            None => *self.path == *path,
        }
    }
}

impl<'a> Found<'a> {
    /// Looks for the document of a path; `None` if the path isn't one for metadata.
    pub(crate) fn at(all: &'a [Endpoint], path: &str, query: Option<&str>) -> Option<Self> {
        if let Some(endpoint) = all.iter().find(|endpoint| endpoint.is_at(path, query)) {
            return Some(Self::Document(endpoint));
        }
        let below = path.strip_prefix(WELL_KNOWN)?;
        match below {
            "" | "/" => {
                let aliased = all.iter().find(|endpoint| endpoint.has_alias);
                Some(aliased.map_or(Self::Absent, Self::Document))
            }
            _ if below.starts_with('/') => Some(Self::Absent),
            _ => None,
        }
    }

    /// Answers a request for it, with or without credentials.
    pub(crate) fn answer(self, method: &Method, headers: &HeaderMap) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let fields = response.headers_mut();
        // There is nothing secret in it, and scripts of every origin look for it.
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let Self::Document(endpoint) = self else {
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        };
        if method == Method::GET || method == Method::HEAD {
            fields.insert(ETAG, endpoint.etag.clone());
            fields.insert(CACHE_CONTROL, endpoint.cache_control.clone());
            if is_known(headers, &endpoint.etag) {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            fields.insert(CONTENT_LENGTH, endpoint.body.len().into());
            if method == Method::GET {
                *response.body_mut() = endpoint.body.clone();
            }
            return response;
        }
        fields.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        if method == Method::OPTIONS {
            let methods = HeaderValue::from_static("GET, HEAD");
            fields.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
            fields.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
            *response.status_mut() = StatusCode::NO_CONTENT;
        } else {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        }
        response
    }
}

/// Returns `true` if the client has this very document (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let etag = etag.as_bytes();
    let mut tags = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
}
