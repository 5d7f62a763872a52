//! What a renderer learns about the refused request and its answer.

use http::header::{Entry, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use crate::answer::challenges::{Challenges, Schemes};
use crate::answer::head::RequestHead;
use crate::answer::protocol::Protocol;
use crate::answer::step_up::StepUp;
use crate::answer::wire::Wire;
use crate::scope::ScopeSet;

/// The refused request, and what its caller may learn of the refusal.
#[derive(Clone, Copy, Debug)]
pub struct RefusalContext<'a> {
    request: RequestHead<'a>,
    challenges: &'a Challenges,
    scopes: Option<&'a ScopeSet>,
    login: Option<StepUp<'a>>,
    asked: Schemes,
    wire: &'static Wire,
}

impl<'a> RefusalContext<'a> {
    pub(crate) const fn new(
        request: RequestHead<'a>,
        challenges: &'a Challenges,
        scopes: Option<&'a ScopeSet>,
        asked: Schemes,
        wire: &'static Wire,
    ) -> Self {
        Self { request, challenges, scopes, asked, login: None, wire }
    }

    /// Adds the login that would have sufficed.
    pub(crate) const fn with_login(self, login: Option<StepUp<'a>>) -> Self {
        Self { login, ..self }
    }

    /// Returns the request's method.
    pub const fn method(&self) -> &'a Method {
        self.request.method
    }

    /// Returns the request's URI.
    pub const fn uri(&self) -> &'a Uri {
        self.request.uri
    }

    /// Returns the request's headers. They hold the token.
    pub const fn headers(&self) -> &'a HeaderMap {
        self.request.headers
    }

    /// Returns `true` if the request is a call of gRPC, gRPC-Web or Connect: the body of its answer belongs to
    /// the protocol.
    pub fn is_grpc(&self) -> bool {
        self.protocol() != Protocol::Http
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.request.protocol()
    }

    /// Returns the HTTP status of the refusal. The answer to a gRPC call has the status 200 instead.
    pub const fn status(&self) -> StatusCode {
        self.wire.status
    }

    /// Returns the code of the JSON body, such as `invalid_token`. Empty if there is none.
    pub const fn code(&self) -> &'static str {
        self.wire.code
    }

    /// Returns the sentence for the caller, one of a closed list. Empty if there is none.
    pub const fn description(&self) -> &'static str {
        self.wire.description
    }

    /// Returns the values of the `WWW-Authenticate` fields: one challenge for each scheme, that of
    /// Bearer first. Empty for a refusal without a challenge, such as 503.
    ///
    /// Each is sent as a field line of its own (RFC 9110 §11.6.1):
    ///
    /// ```
    /// use http::header::WWW_AUTHENTICATE;
    /// use tower_bearer::answer::RefusalContext;
    ///
    /// fn add_challenges<B>(response: &mut http::Response<B>, cx: &RefusalContext<'_>) {
    ///     for challenge in cx.challenges() {
    ///         response.headers_mut().append(WWW_AUTHENTICATE, challenge);
    ///     }
    /// }
    /// ```
    pub fn challenges(&self) -> impl Iterator<Item = HeaderValue> + use<'a> {
        let lines = self.challenges.lines(self.wire, self.scopes, self.asked);
        let (login, wire) = (self.login, self.wire);
        lines.map(move |line| login.map_or_else(|| line.clone(), |login| login.add_to(&line, wire)))
    }

    /// Returns the header fields of an HTTP answer.
    pub(crate) fn fields(&self) -> HeaderMap {
        let mut fields = self.challenges.fields(self.wire, self.scopes, self.asked);
        if let Some(login) = self.login
            && let Entry::Occupied(mut lines) = fields.entry(WWW_AUTHENTICATE)
        {
            lines.iter_mut().for_each(|line| *line = login.add_to(line, self.wire));
        }
        fields
    }

    pub(crate) const fn wire(&self) -> &'static Wire {
        self.wire
    }
}
