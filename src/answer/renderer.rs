//! The trait by which applications replace the answers, and its default.

use std::ops::Deref;
use std::sync::Arc;
use std::{any, fmt};

use bytes::Bytes;
use http::Response;

use crate::answer::absent::Absent;
use crate::answer::context::RefusalContext;
use crate::answer::protocol::Protocol;
use crate::answer::{connect, grpc, plain};
use crate::refusal::Refusal;

/// Turns a refusal into a response.
///
/// The layer uses [`DefaultRenderer`] unless it is given another one with
/// [`renderer`](crate::BearerAuthLayer::renderer). Another one can call the default and change its
/// response. Whatever a renderer returns, the [`Refusal`] is put into the response's extensions, and the
/// body isn't sent to a `HEAD` request.
///
/// A refusal that [hides](crate::Access::hide_existence) the resource is rendered by
/// [`render_absent`](Self::render_absent) instead, so that a renderer doesn't reveal it.
///
/// # A closure
///
/// A closure or function with the signature of [`render`](Self::render) is a renderer. A closure needs
/// the types of its arguments written out:
///
/// ```
/// use http::header::{CONTENT_TYPE, HeaderValue};
/// use tower_bearer::answer::{DefaultRenderer, RefusalContext, Renderer as _};
/// use tower_bearer::{BearerAuthLayer, Refusal, Validator};
///
/// /// Bodies of plain text, and the default status and fields.
/// fn layer(validator: Validator) -> BearerAuthLayer {
///     BearerAuthLayer::new(validator).renderer(|refusal: &Refusal, cx: &RefusalContext<'_>| {
///         let mut response = DefaultRenderer.render(refusal, cx);
///         if !cx.is_grpc() {
///             *response.body_mut() = cx.description().into();
///             response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
///         }
///         response
///     })
/// }
/// ```
///
/// # A type
///
/// ```
/// use bytes::Bytes;
/// use http::header::{CONTENT_TYPE, HeaderValue};
/// use tower_bearer::Refusal;
/// use tower_bearer::answer::{DefaultRenderer, RefusalContext, Renderer};
///
/// /// Bodies as of RFC 9457, and the default status and fields.
/// struct Problem;
///
/// impl Renderer for Problem {
///     fn render(&self, refusal: &Refusal, cx: &RefusalContext<'_>) -> http::Response<Bytes> {
///         let mut response = DefaultRenderer.render(refusal, cx);
///         if !cx.is_grpc() {
///             let (status, title) = (cx.status().as_u16(), cx.description());
///             let body = format!(r#"{{"status":{status},"title":"{title}"}}"#);
///             *response.body_mut() = body.into();
///             let problem = HeaderValue::from_static("application/problem+json");
///             response.headers_mut().insert(CONTENT_TYPE, problem);
///         }
///         response
///     }
/// }
/// ```
pub trait Renderer: Send + Sync + 'static {
    /// Renders a refusal of the request in `cx`.
    ///
    /// Take from `cx` what the caller is to see: it holds only what callers may know. The refusal
    /// itself holds more.
    fn render(&self, refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes>;

    /// Renders a refusal as the answer of a resource that doesn't exist.
    ///
    /// The default is the answer of an axum router or a tonic server that has no fallback of its own.
    /// An application with such a fallback returns the same response as it does, for every method: no
    /// field is added, so `Content-Length`, which axum adds to what a handler returns, must be set.
    fn render_absent(&self, absent: Absent, cx: &RefusalContext<'_>) -> Response<Bytes> {
        let _ = cx;
        absent.answer()
    }
}

impl<F> Renderer for F
where
    F: Fn(&Refusal, &RefusalContext<'_>) -> Response<Bytes> + Send + Sync + 'static,
{
    fn render(&self, refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
        self(refusal, cx)
    }
}

impl<R: Renderer + ?Sized> Renderer for Arc<R> {
    fn render(&self, refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
        (**self).render(refusal, cx)
    }

    fn render_absent(&self, absent: Absent, cx: &RefusalContext<'_>) -> Response<Bytes> {
        (**self).render_absent(absent, cx)
    }
}

/// Renders RFC 6750 challenges with JSON bodies, and for calls of gRPC, gRPC-Web and Connect what their
/// clients understand; see [`answer`](crate::answer#) for how they are told.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "other renderers name it to call it")]
pub struct DefaultRenderer;

impl Renderer for DefaultRenderer {
    fn render(&self, refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
        match cx.protocol() {
            Protocol::Http => plain::render(refusal, cx),
            Protocol::Grpc => grpc::render(refusal, cx),
            Protocol::GrpcWeb => grpc::render_for_web(refusal, cx),
            Protocol::ConnectUnary => connect::render_unary(refusal, cx),
            Protocol::ConnectStreaming => connect::render_streaming(refusal, cx),
        }
    }
}

/// A renderer of any type. `Debug` prints the type's name, which closures have too.
#[derive(Clone)]
pub(crate) struct AnyRenderer {
    renderer: Arc<dyn Renderer>,
    name: &'static str,
}

impl AnyRenderer {
    pub(crate) fn new<R: Renderer>(renderer: R) -> Self {
        Self { renderer: Arc::new(renderer), name: any::type_name::<R>() }
    }
}

impl Deref for AnyRenderer {
    type Target = dyn Renderer;

    fn deref(&self) -> &Self::Target {
        &*self.renderer
    }
}

impl fmt::Debug for AnyRenderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, StatusCode, Uri};

    use super::*;
    use crate::answer::challenges::{Challenges, Schemes};
    use crate::answer::head::RequestHead;
    use crate::answer::wire::{Disclosure, wire};
    use crate::refusal::RejectionKind;

    fn teapot(_: &Refusal, _: &RefusalContext<'_>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    }

    struct Own;

    impl Renderer for Own {
        fn render(&self, refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
            teapot(refusal, cx)
        }

        fn render_absent(&self, _: Absent, _: &RefusalContext<'_>) -> Response<Bytes> {
            Response::new("gone".into())
        }
    }

    #[test]
    fn closures_functions_and_shared_renderers_are_renderers() {
        let refusal = Refusal::from(RejectionKind::Expired);
        let (method, uri, headers) = (Method::GET, Uri::from_static("/"), HeaderMap::new());
        let extensions = http::Extensions::new();
        let request =
            RequestHead { method: &method, uri: &uri, headers: &headers, extensions: &extensions };
        let (challenges, wire) = (Challenges::default(), wire(&refusal, Disclosure::default()));
        let cx = RefusalContext::new(request, &challenges, None, Schemes::Bearer, wire);

        let said = String::from("short and stout");
        let closure = move |refusal: &Refusal, cx: &RefusalContext<'_>| {
            teapot(refusal, cx).map(|_| said.clone().into())
        };
        let shared: Arc<dyn Renderer> = Arc::new(Own);
        for (renderer, name, body, absent) in [
            (AnyRenderer::new(closure), "{{closure}}", "short and stout", ""),
            (AnyRenderer::new(teapot), "::teapot", "", ""),
            (AnyRenderer::new(Own), "::Own", "", "gone"),
            (AnyRenderer::new(shared), "dyn ", "", "gone"),
        ] {
            let response = renderer.render(&refusal, &cx);
            assert_eq!((response.status().as_u16(), &**response.body()), (418, body.as_bytes()));
            let response = renderer.render_absent(Absent::Path, &cx);
            assert_eq!(response.body(), absent);
            assert!(format!("{renderer:?}").contains(name), "{renderer:?}");
        }
    }
}
