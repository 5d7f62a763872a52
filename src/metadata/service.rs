//! A tower service that serves the metadata of one or more resources.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use crate::error::ConfigError;
use crate::metadata::endpoint::{Endpoint, Found};

/// A service that answers requests for the metadata of one or more resources.
///
/// It is created by [`BearerAuthLayer::metadata_service`](crate::BearerAuthLayer::metadata_service). It
/// requires no token, accepts `GET`, `HEAD` and preflight requests, and answers 404 for every path without a
/// document.
///
/// In an axum router, mount it with `nest_service` at [`WELL_KNOWN`](crate::metadata::WELL_KNOWN), or with
/// `route_service` at the path of one document: it matches the full path of the request (feature `axum`).
#[derive(Clone, Debug)]
pub struct MetadataService {
    endpoints: Arc<[Endpoint]>,
}

/// The future of a [`MetadataService`].
pub type MetadataFuture = Ready<Result<Response<MetadataBody>, Infallible>>;

impl MetadataService {
    pub(crate) fn of(endpoint: Option<&Endpoint>) -> Self {
        Self { endpoints: endpoint.into_iter().cloned().collect() }
    }

    /// Creates a service for the resources of several services. With more than one, none has the alias at the
    /// root, since clients could take it for any of them.
    ///
    /// # Errors
    ///
    /// If two resources have their metadata at the same path.
    pub fn new(services: impl IntoIterator<Item = Self>) -> Result<Self, ConfigError> {
        let services: Vec<Self> = services.into_iter().collect();
        let endpoints = services.iter().flat_map(|service| service.endpoints.iter().cloned());
        let mut endpoints: Vec<Endpoint> = endpoints.collect();
        let mut paths: Vec<&str> = endpoints.iter().map(|endpoint| &*endpoint.path).collect();
        paths.sort_unstable();
        if let Some([path, _]) = paths.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some([*one, *other]),
            _ => None,
        }) {
            return Err(ConfigError::new(format!(
                "two resources have their metadata at {path:?}: give each a path of its own, such as \
                 \"https://api.example/mcp\" and \"https://api.example/api\""
            )));
        }
        if endpoints.len() > 1 {
            endpoints.iter_mut().for_each(|endpoint| endpoint.has_alias = false);
        }
        Ok(Self { endpoints: endpoints.into() })
    }
}

impl<B> Service<Request<B>> for MetadataService {
    type Response = Response<MetadataBody>;
    type Error = Infallible;
    type Future = MetadataFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> MetadataFuture {
        let uri = full_uri(&request);
        let response = match Found::at(&self.endpoints, uri.path(), uri.query()) {
            Some(found) => found.answer(request.method(), request.headers()),
            None => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        };
        ready(Ok(response.map(MetadataBody)))
    }
}

/// Returns the URI of the request before a router removed a prefix.
#[cfg(feature = "axum")]
pub(crate) fn full_uri<B>(request: &Request<B>) -> &Uri {
    let original = request.extensions().get::<axum::extract::OriginalUri>();
    original.map_or(request.uri(), |original| original)
}

#[cfg(not(feature = "axum"))]
pub(crate) fn full_uri<B>(request: &Request<B>) -> &Uri {
    request.uri()
}

/// The body of a [`MetadataService`]'s answer.
#[derive(Clone, Debug, Default)]
pub struct MetadataBody(Bytes);

impl Body for MetadataBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
