//! Requests of `reqwest` sent with a token, for callers that have no tower stack.

use std::time::Duration;

use http::Uri;
use reqwest::{Request, RequestBuilder, Response, Url};
use tokio::time::Instant;

use crate::client::attach::error::SendError;
use crate::client::attach::layer::AttachTokenLayer;
use crate::client::attach::policy::{
    Next, Tries, Verdict, resent_for_nonce, resent_with_another_token,
};
use crate::clock::monotonic;

#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-0_13")))]
impl AttachTokenLayer {
    /// Sends a request of `reqwest` 0.13 with a token, through the client that built the request.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_bearer::client::{AttachTokenLayer, TokenSource};
    ///
    /// let orders = AttachTokenLayer::new(TokenSource::from_env()?, ["https://orders.example"])?;
    /// let http = reqwest::Client::new();
    ///
    /// let answer = orders.send(http.get("https://orders.example/orders")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A request's own timeout ([`RequestBuilder::timeout`]) covers all of it: the wait for the token,
    /// and the second request after a refusal. That of the client, which can't be seen from here,
    /// covers each of the two; [`token_timeout`](Self::token_timeout) bounds the wait then.
    ///
    /// A request whose body is a stream isn't sent again. On a redirect to another host or port,
    /// `reqwest` takes the token away; one to `http` on the same host and port it would follow with the
    /// token, unless the client is built with `https_only(true)`.
    ///
    /// If the client has followed a redirect, only a request with a safe method, such as `GET`, is sent again:
    /// a `POST` may have been carried out before the redirect. That is seen by the URL of the answer, so a
    /// redirect back to the very URL of the request is not: where a server answers so to unsafe methods, build
    /// the client with `redirect(Policy::none())`.
    ///
    /// # Errors
    ///
    /// If there is no token in time, if the address is of another origin, if the `Host` field names
    /// another host, or if sending fails. An answer
    /// of the server is no error, whatever its status.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, SendError> {
        let (client, request) = request.build_split();
        let mut request = request.map_err(SendError::service)?;
        let began = monotonic();
        let policy = &self.policy;
        let other_origin = || SendError::Origin(policy.refusal(&Uri::default()));
        let address = uri(request.url()).ok_or_else(other_origin)?;
        match policy.judge(&address, request.headers()) {
            Verdict::Attach => {}
            Verdict::Pass => return client.execute(request).await.map_err(SendError::service),
            Verdict::Refuse(error) => return Err(error),
        }
        let timeout = request.timeout().copied();
        let deadline = policy.deadline(began, timeout);
        let mut token = policy.tokens.token_until(deadline).await.map_err(SendError::Token)?;
        let origin = request.url().origin();
        let mut tries = Tries::all();
        loop {
            let again =
                Some(()).filter(|()| tries.are_left(&token)).and_then(|()| request.try_clone());
            let method = request.method().clone();
            policy.attach(&token, (&method, &address), request.headers_mut())?;
            bound(&mut request, timeout, began);
            let answer = client.execute(request).await.map_err(SendError::service)?;
            // After a redirect to another origin, the server hasn't seen the token.
            if answer.url().origin() != origin {
                return Ok(answer);
            }
            // Before a redirect, as after a POST (RFC 9110 §15.4.4), the request may have been carried out.
            let may_repeat = method.is_safe() || uri(answer.url()).as_ref() == Some(&address);
            let again = again.filter(|_| may_repeat);
            let said = (answer.status(), answer.headers());
            let next = policy.next(&mut tries, &token, &address, said);
            match (next, again) {
                (Next::Stop, _) | (Next::Nonce, None) => return Ok(answer),
                (Next::Token, None) => {
                    policy.tokens.renew_in_background();
                    return Ok(answer);
                }
                (Next::Nonce, Some(again)) => {
                    resent_for_nonce();
                    request = again;
                }
                (Next::Token, Some(again)) => {
                    let deadline = policy.deadline(began, timeout);
                    let Some(newer) = policy.tokens.other_than(&token, deadline).await else {
                        return Ok(answer);
                    };
                    resent_with_another_token();
                    (request, token) = (again, newer);
                }
            }
        }
    }
}

/// Sets the timeout of a request to what is left of it.
fn bound(request: &mut Request, timeout: Option<Duration>, began: Instant) {
    if let Some(timeout) = timeout {
        let elapsed = monotonic().saturating_duration_since(began);
        *request.timeout_mut() = Some(timeout.saturating_sub(elapsed));
    }
}

fn uri(url: &Url) -> Option<Uri> {
    url.as_str().parse().ok()
}
