//! Failures of requests to a Redis, as kinds and sentences that repeat nothing of the request.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The kind of a failed request to a Redis.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FailureKind {
    Timeout,
    Unavailable,
    Full,
    Authentication,
    Permission,
    Tls,
    Cluster,
    Other,
}

/// An error of the Redis client, reduced to a kind and a fixed sentence. Its own text may repeat what was
/// sent, and is never shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) why: &'static str,
    /// Whether the connection can't be used any more.
    pub(crate) connection_lost: bool,
}

/// The reason if an ACL forbids a command, and not a key.
pub(crate) const COMMAND_FORBIDDEN: &str =
    "the ACL of the Redis doesn't permit a command that is needed";

impl Failure {
    /// No connection or answer in time.
    pub(crate) const SLOW: Self =
        Self::lasting(FailureKind::Timeout, "the connection or the answer took too long");

    /// No connection in time.
    pub(crate) const SILENT: Self = Self::lasting(
        FailureKind::Timeout,
        "the connection took too long; a Redis without TLS has a URL that begins with redis://",
    );

    pub(crate) const ENDED: Self =
        Self::lasting(FailureKind::Unavailable, "connecting was aborted");

    /// Creates a failure after which the connection can't be used any more.
    pub(crate) const fn lasting(kind: FailureKind, why: &'static str) -> Self {
        Self { kind, why, connection_lost: true }
    }

    pub(crate) const fn passing(kind: FailureKind, why: &'static str) -> Self {
        Self { kind, why, connection_lost: false }
    }

    pub(crate) fn of(error: &RedisError) -> Self {
        use FailureKind::{Authentication, Cluster, Full, Other, Timeout, Unavailable};
        use ServerErrorKind::{
            Ask, BusyLoading, ClusterDown, CrossSlot, MasterDown, Moved, NoPerm, ReadOnly, TryAgain,
        };

        let says = |what: &str| error.detail().is_some_and(|text| text.contains(what));
        match error.kind() {
            // An ACL forbids a command within the script.
            _ if says("executing the script can't") => Self::forbidden(error),
            _ if error.to_string().contains("refused to switch database") => Self::lasting(
                Other,
                "the Redis doesn't have the database whose number its URL has, or the ACL forbids \
                 SELECT",
            ),
            ErrorKind::Io if error.is_timeout() => {
                Self::lasting(Timeout, "the answer took too long")
            }
            ErrorKind::Io => Self::lasting(
                Unavailable,
                "the connection broke; the Redis may expect TLS (a URL that begins with rediss://), or a \
                 client certificate",
            ),
            // After an unexpected answer, the next one may belong to another request.
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                Self::lasting(Other, "the answer isn't one of a Redis")
            }
            ErrorKind::AuthenticationFailed => Self::lasting(
                Authentication,
                "the Redis refuses the user name or password, or has none",
            ),
            // The primary has become a replica, and its name may resolve to the new one by now.
            ErrorKind::Server(ReadOnly | MasterDown) => {
                Self::lasting(Unavailable, "the Redis is a replica, which can't be written to")
            }
            ErrorKind::Server(BusyLoading) => {
                Self::passing(Unavailable, "the Redis is loading its data")
            }
            ErrorKind::Server(ClusterDown | TryAgain) => Self::passing(
                Cluster,
                "the cluster is down, or none of its servers has the slot of the key",
            ),
            ErrorKind::Server(CrossSlot | Moved | Ask) => Self::passing(
                Cluster,
                "the Redis is a server of a cluster: give Redis::cluster, or a proxy's address",
            ),
            ErrorKind::Server(NoPerm) => Self::forbidden(error),
            _ => match error.code() {
                Some("OOM") => Self::passing(Full, "the Redis has reached its maxmemory"),
                Some("BUSY") => Self::passing(Unavailable, "the Redis is busy with a script"),
                Some("MISCONF") => Self::passing(Unavailable, "the Redis can't write to its disk"),
                Some("NOREPLICAS") => Self::passing(Unavailable, "the Redis has too few replicas"),
                Some("NOAUTH") => Self::lasting(
                    Authentication,
                    "the Redis wants a password: the URL is redis://:password@host",
                ),
                Some("WRONGPASS") => {
                    Self::lasting(Authentication, "the Redis refuses the user name or password")
                }
                Some("NOPERM") => Self::forbidden(error),
                _ => Self::passing(Other, "the Redis answers with an error of another kind"),
            },
        }
    }

    /// An ACL forbids a key or a command, which the text distinguishes.
    fn forbidden(error: &RedisError) -> Self {
        let is_key = error.detail().is_some_and(|text| text.contains("key"));
        Self::passing(
            FailureKind::Permission,
            if is_key {
                "the ACL of the Redis doesn't permit keys of this name: see key_prefix"
            } else {
                COMMAND_FORBIDDEN
            },
        )
    }
}
