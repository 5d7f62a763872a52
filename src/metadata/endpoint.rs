//! Serves the document of one resource at its path, with caching and CORS.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::metadata::description::ResourceMetadata;
use crate::metadata::document::Facts;
use crate::metadata::metadata_url::WELL_KNOWN;
use crate::metadata::servers::KnownIssuers;

/// The document of one resource, written once for each list of authorization servers.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The path and query that it is served at.
    pub(crate) path: Box<str>,
    pub(crate) has_alias: bool,
    cache_control: HeaderValue,
    source: Arc<Source>,
}

#[derive(Debug)]
struct Source {
    metadata: ResourceMetadata,
    facts: Facts,
    document: Mutex<Document>,
}

#[derive(Clone, Debug)]
struct Document {
    /// The authorization servers that it names.
    issuers: Arc<KnownIssuers>,
    body: Bytes,
    etag: HeaderValue,
}

/// The result of looking for the document of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    Document(&'a Endpoint),
    /// The path is below the well-known one, and no resource has it.
    Absent,
}

impl Endpoint {
    pub(crate) fn new(metadata: &ResourceMetadata, facts: &Facts) -> Self {
        let (metadata, facts) = (metadata.clone(), facts.clone());
        let cache_control = match metadata.cache_for.as_secs() {
            0 => "no-cache".to_owned(),
            secs => format!("public, max-age={secs}"),
        };
        let document = Mutex::new(Document::new(&metadata, &facts, facts.issuers.now()));
        Self {
            path: metadata.place.path.clone(),
            has_alias: metadata.root_alias && !metadata.place.is_root(),
            cache_control: value(cache_control),
            source: Arc::new(Source { metadata, facts, document }),
        }
    }

    /// Returns the current document.
    fn document(&self) -> Document {
        let Source { metadata, facts, document } = &*self.source;
        let mut document = document.lock().unwrap_or_else(PoisonError::into_inner);
        let issuers = facts.issuers.now();
        if Arc::ptr_eq(&document.issuers, &issuers) {
            return document.clone();
        }
        if document.issuers == issuers {
            document.issuers = issuers;
            return document.clone();
        }
        *document = Document::new(metadata, facts, Arc::clone(&issuers));
        let current = document.clone();
        drop(document);
        metadata.check_issuers(&issuers);
        current
    }

    /// Returns `true` if this is the document of a path.
    fn is_at(&self, path: &str, query: Option<&str>) -> bool {
        match self.path.split_once('?') {
            Some((own, own_query)) => own == path && Some(own_query) == query,
            // A query may have been added to bypass a cache.
            None => *self.path == *path,
        }
    }
}

impl Document {
    fn new(metadata: &ResourceMetadata, facts: &Facts, issuers: Arc<KnownIssuers>) -> Self {
        let body = metadata.document(facts, &issuers);
        let mut hasher = DefaultHasher::new();
        hasher.write(&body);
        let etag = value(format!("\"{:016x}\"", hasher.finish()));
        Self { issuers, body, etag }
    }
}

/// Converts a text of this file, which is always a valid field value.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("no-cache"))
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
        // The document has no secrets, and scripts of any origin read it.
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let Self::Document(endpoint) = self else {
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        };
        if method == Method::GET || method == Method::HEAD {
            let document = endpoint.document();
            fields.insert(ETAG, document.etag.clone());
            fields.insert(CACHE_CONTROL, endpoint.cache_control.clone());
            if is_known(headers, &document.etag) {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            fields.insert(CONTENT_LENGTH, document.body.len().into());
            if method == Method::GET {
                *response.body_mut() = document.body;
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
