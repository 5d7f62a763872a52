use http::{HeaderMap, Uri};
use reqwest::{RequestBuilder, Response, Url};

use crate::client::attach::{AttachTokenLayer, Verdict};
use crate::client::challenge::refuses_token;
use crate::client::send_error::SendError;
use crate::telemetry::{count, event};

impl AttachTokenLayer {
    /// Sends a request of `reqwest` with a token, by the client that the request was made with.
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
    /// A request whose body is a stream isn't sent again. On a redirect to another host or port,
    /// `reqwest` takes the token away; one to `http` on the same host and port it would follow with the
    /// token, unless the client is built with `https_only(true)`.
    ///
    /// # Errors
    ///
    /// If there is no token, if the address is of another origin, or if sending fails. An answer
    /// of the server is no error, whatever its status.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, SendError> {
        let (client, request) = request.build_split();
        let mut request = request.map_err(SendError::service)?;
        match self.judge(request.url(), request.headers()) {
            Verdict::Attach => {}
            Verdict::Pass => return client.execute(request).await.map_err(SendError::service),
            Verdict::Refuse(refused) => return Err(SendError::Origin(refused)),
        }
        let policy = &self.policy;
        let token = policy.tokens.token().await.map_err(SendError::Token)?;
        let (again, origin) = (request.try_clone(), request.url().origin());
        policy.attach(request.headers_mut(), &token);
        let answer = client.execute(request).await.map_err(SendError::service)?;
        // After a redirect to elsewhere, the server hasn't seen the token.
        if answer.url().origin() != origin
            || !refuses_token(answer.status(), answer.headers())
            || !policy.tokens.invalidate(&token)
        {
            return Ok(answer);
        }
        let Some(mut again) = again else { return Ok(answer) };
        let Ok(newer) = policy.tokens.token().await else { return Ok(answer) };
        if newer.is_same(&token) {
            return Ok(answer);
        }
        count!("client_retry_401_total");
        event!(DEBUG, "client_retry_401: the token was refused, sending another");
        policy.attach(again.headers_mut(), &newer);
        client.execute(again).await.map_err(SendError::service)
    }

    fn judge(&self, url: &Url, headers: &HeaderMap) -> Verdict {
        match uri(url) {
            Some(uri) => self.policy.judge(&uri, headers),
            None => Verdict::Refuse(self.policy.refusal(&Uri::default())),
        }
    }
}

fn uri(url: &Url) -> Option<Uri> {
    url.as_str().parse().ok()
}
