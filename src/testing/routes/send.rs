//! Sends one request of a route check to the application.

use std::fmt::Display;
use std::future::poll_fn;

use http::{HeaderValue, Method, Request, Response, Uri, header, request};
use http_body::Body;
use tower_service::Service;

use crate::answer::{Disclosure, wire};
use crate::refusal::Refusal;
use crate::testing::routes::expected::Answer;

/// Completes a request with what the application needs besides method, path and token.
pub(crate) type Prepare<'a> = Box<dyn Fn(&mut request::Parts) + Send + Sync + 'a>;

/// Sends a request. The error is a sentence for the report.
pub(crate) async fn send<S, B, R>(
    mut app: S,
    method: &Method,
    path: &str,
    token: Option<&str>,
    prepare: &Prepare<'_>,
) -> Result<Answer, String>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Display,
    B: Default,
    R: Body,
{
    let (mut head, body) = Request::new(B::default()).into_parts();
    head.method = method.clone();
    head.uri = Uri::builder()
        .path_and_query(path)
        .build()
        .map_err(|error| format!("not sent, since no request has this path: {error}"))?;
    prepare(&mut head);
    if let Some(token) = token {
        let value = HeaderValue::from_str(token);
        head.headers.insert(header::AUTHORIZATION, value.map_err(|error| error.to_string())?);
    }
    let failed = |error: S::Error| format!("answered by the error {:?}", error.to_string());
    poll_fn(|cx| app.poll_ready(cx)).await.map_err(failed)?;
    let response = app.call(Request::from_parts(head, body)).await.map_err(failed)?;
    let refusal = response.extensions().get::<Refusal>();
    let status = refusal.map(|refusal| wire(refusal, Disclosure::default()).status);
    Ok(Answer {
        status: status.unwrap_or_else(|| response.status()),
        by_layer: refusal.is_some(),
        empty: response.body().is_end_stream(),
    })
}
