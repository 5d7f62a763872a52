//! The tower layer that adds tokens to requests, and its settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::client::attach::policy::Policy;
use crate::client::attach::service::AttachToken;
use crate::client::tokens::source::TokenSource;
use crate::error::ConfigError;
use crate::transport::{Origin, PlainHttp};

/// The default of how much of a request's body is kept.
const REPLAY_LIMIT: usize = 64 * 1024;

/// Adds a token to each request, for configured origins only.
///
/// If the server refuses the token, another is fetched and the request sent once more. See the
/// [module](crate::client) for the rules, and for how it goes with tonic and reqwest.
///
/// # Examples
///
/// Around hyper-util's client:
///
/// ```
/// # async fn example(
/// #     tokens: tower_bearer::client::TokenSource,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::{Layer, ServiceExt};
/// use tower_bearer::client::{AttachTokenLayer, ReplayBody};
///
/// let hyper = Client::builder(TokioExecutor::new()).build_http::<ReplayBody<Full<Bytes>>>();
/// let orders = AttachTokenLayer::new(tokens, ["http://127.0.0.1:8080"])?.layer(hyper);
///
/// let request = Request::get("http://127.0.0.1:8080/orders/7").body(Full::default())?;
/// let answer = orders.oneshot(request).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AttachTokenLayer {
    pub(crate) policy: Arc<Policy>,
}

impl AttachTokenLayer {
    /// Sends tokens to these origins, such as `https://orders.example`: `https`, or `http` on a
    /// loopback address. Requests to any other are refused with an error, and not sent; so are those
    /// whose `Host` field names another host than their address.
    ///
    /// # Errors
    ///
    /// If there is no origin, or one that can't be used.
    pub fn new<O: AsRef<str>>(
        tokens: TokenSource,
        origins: impl IntoIterator<Item = O>,
    ) -> Result<Self, ConfigError> {
        Self::with(tokens, origins, PlainHttp::Loopback)
    }

    fn with<O: AsRef<str>>(
        tokens: TokenSource,
        origins: impl IntoIterator<Item = O>,
        plain_http: PlainHttp,
    ) -> Result<Self, ConfigError> {
        let allowed = ", or AttachTokenLayer::dangerous_allow_http within a mesh that encrypts";
        let parse = |origin: O| Origin::parse(origin.as_ref(), plain_http, allowed);
        let origins: Vec<Origin> = origins.into_iter().map(parse).collect::<Result<_, _>>()?;
        if origins.is_empty() {
            return Err(ConfigError::new("name at least one origin that tokens may be sent to"));
        }
        Ok(Self {
            policy: Arc::new(Policy {
                tokens,
                replay_limit: REPLAY_LIMIT,
                token_timeout: None,
                origins,
                channel: false,
                pass_others: false,
                replace: false,
            }),
        })
    }

    /// Like [`new`](Self::new), but `http` origins may be any host: for a mesh whose proxies encrypt
    /// what leaves the machine.
    ///
    /// Otherwise, anyone on the network path can read the token and use it.
    ///
    /// # Errors
    ///
    /// If there is no origin, or one that can't be used.
    pub fn dangerous_allow_http<O: AsRef<str>>(
        tokens: TokenSource,
        origins: impl IntoIterator<Item = O>,
    ) -> Result<Self, ConfigError> {
        Self::with(tokens, origins, PlainHttp::Dangerous)
    }

    /// Sends tokens through a service that has only one peer, such as tonic's `Channel`, whose
    /// requests needn't name a host. The origin is the peer's.
    ///
    /// Where that service really connects to, and whether with TLS, isn't visible to the layer: a
    /// `Channel` to `http://…` sends the token in the clear, even if the origin named is `https://…`.
    /// Take both from the same setting.
    ///
    /// # Errors
    ///
    /// If the origin can't be used.
    pub fn for_channel(tokens: TokenSource, origin: &str) -> Result<Self, ConfigError> {
        Ok(Self::new(tokens, [origin])?.set(|policy| policy.channel = true))
    }

    /// Like [`for_channel`](Self::for_channel), but an `http` origin may be any host, as with
    /// [`dangerous_allow_http`](Self::dangerous_allow_http).
    ///
    /// # Errors
    ///
    /// If the origin can't be used.
    pub fn dangerous_allow_http_for_channel(
        tokens: TokenSource,
        origin: &str,
    ) -> Result<Self, ConfigError> {
        let layer = Self::dangerous_allow_http(tokens, [origin])?;
        Ok(layer.set(|policy| policy.channel = true))
    }

    /// Sends requests to other origins too, without a token.
    #[must_use]
    pub fn pass_other_origins(self) -> Self {
        self.set(|policy| policy.pass_others = true)
    }

    /// Replaces the `Authorization` field of a request that already has one. By default such a
    /// request is sent unchanged.
    #[must_use]
    pub fn replace_existing(self) -> Self {
        self.set(|policy| policy.replace = true)
    }

    /// Sets how many bytes of a request's body are buffered until it is answered; 64 KiB by
    /// default. A request with a longer body isn't sent again; with 0, only those without a body
    /// are. A request given to [`send`](Self::send) has its body in memory already: it is sent again
    /// however long the body is, unless that is a stream.
    #[must_use]
    pub fn replay_up_to(self, bytes: usize) -> Self {
        self.set(|policy| policy.replay_limit = bytes)
    }

    /// Sets how long a request waits for a token. The default is the timeout of a fetch
    /// ([`TokenClientBuilder::timeout`](crate::client::TokenClientBuilder::timeout)).
    ///
    /// A gRPC call waits no longer than its `grpc-timeout` anyway, and a request given to
    /// [`send`](Self::send) no longer than its own timeout. A request without a token by then fails
    /// with [`TokenErrorKind::Deadline`](crate::client::TokenErrorKind::Deadline); one that has an
    /// answer already, which refuses the token, gets that.
    #[must_use]
    pub fn token_timeout(self, timeout: Duration) -> Self {
        self.set(|policy| policy.token_timeout = Some(timeout))
    }

    fn set(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }
}

impl<S> Layer<S> for AttachTokenLayer {
    type Service = AttachToken<S>;

    fn layer(&self, inner: S) -> AttachToken<S> {
        AttachToken::new(inner, Arc::clone(&self.policy))
    }
}

impl fmt::Debug for AttachTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)
    }
}
