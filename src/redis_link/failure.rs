use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What went wrong with a request to a Redis.
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

/// What an error of the Redis client comes down to. Its text may repeat what was sent, and goes
/// nowhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) why: &'static str,
    /// Whether the connection is of no use any more.
    pub(crate) connection_lost: bool,
}

/// What the permission is missing for, if not for a key.
pub(crate) const COMMAND_FORBIDDEN: &str =
    "the ACL of the Redis doesn't permit a command that is needed";

impl Failure {
    /// Nothing came in time.
    pub(crate) const SLOW: Self =
        Self::lasting(FailureKind::Timeout, "the connection or the answer took too long");

    /// No connection came about in time.
    pub(crate) const SILENT: Self = Self::lasting(
        FailureKind::Timeout,
        "the connection took too long; a Redis without TLS has a URL that begins with redis://",
    );

    pub(crate) const ENDED: Self =
        Self::lasting(FailureKind::Unavailable, "the making of the connection was ended");

    /// One that leaves the connection of no use.
    pub(crate) const fn lasting(kind: FailureKind, why: &'static str) -> Self {
        Self { kind, why, connection_lost: true }
    }

    const fn passing(kind: FailureKind, why: &'static str) -> Self {
        Self { kind, why, connection_lost: false }
    }

    pub(crate) fn of(error: &RedisError) -> Self {
        use FailureKind::{Authentication, Cluster, Full, Other, Timeout, Unavailable};
        use ServerErrorKind::{
            Ask, BusyLoading, ClusterDown, CrossSlot, MasterDown, Moved, NoPerm, ReadOnly, TryAgain,
        };

        let says = |what: &str| error.detail().is_some_and(|text| text.contains(what));
        match error.kind() {
            // Of ACLs that are in the way within a script.
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
                "the connection broke; if the Redis expects TLS, its URL begins with rediss://",
            ),
            // After an answer that doesn't fit, the next one may be another request's.
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                Self::lasting(Other, "the answer isn't one of a Redis")
            }
            ErrorKind::AuthenticationFailed => Self::lasting(
                Authentication,
                "the Redis refuses the URL's user name or password, or wants none",
            ),
            // A primary that has become a replica: its name may lead to the new one by now.
            ErrorKind::Server(ReadOnly | MasterDown) => {
                Self::lasting(Unavailable, "the Redis is a replica, which can't be written to")
            }
            ErrorKind::Server(BusyLoading) => {
                Self::passing(Unavailable, "the Redis is loading its data")
            }
            ErrorKind::Server(ClusterDown | CrossSlot | TryAgain | Moved | Ask) => Self::passing(
                Cluster,
                "the Redis is a cluster's node; use one server, or a proxy in front of the cluster",
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
                Some("WRONGPASS") => Self::lasting(
                    Authentication,
                    "the Redis refuses the URL's user name or password",
                ),
                Some("NOPERM") => Self::forbidden(error),
                _ => Self::passing(Other, "the Redis answers with an error of another kind"),
            },
        }
    }

    /// An ACL is in the way: of a key or a command, of which the text says which.
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
