//! Connects to one server and logs in: credentials, dialling and limits of a connection.

use std::io;
use std::str;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::source::SecretSource;
use crate::redis_link::address::ServerAddress;
use crate::redis_link::failure::{Failure, FailureKind};
use crate::redis_link::metered::{Meter, Metered};
use crate::redis_link::tls::Tls;
use crate::transport::is_forbidden;

/// How long each address of a name is tried.
const PER_ADDRESS: Duration = Duration::from_millis(500);

/// How long a provider of passwords may take, which is less than a connection may.
const SECRET: Duration = Duration::from_millis(1500);

/// How many requests of a connection may wait for their answers.
const MAX_IN_FLIGHT: usize = 64;

/// The largest value that is stored. A token and its metadata are far smaller.
pub(crate) const MAX_VALUE: usize = 256 * 1024;

/// How many bytes may arrive while no request is answered: the answers to all that wait.
pub(crate) const MAX_UNANSWERED: usize = MAX_IN_FLIGHT * (MAX_VALUE + 1024);

/// Credentials and TLS for the servers, whatever their addresses.
pub(crate) struct Access {
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) login: RedisConnectionInfo,
    /// The user whose password may change.
    pub(crate) user: Option<(String, SecretSource)>,
}

impl Access {
    /// Splits the URL's settings into the access to the Sentinels, with the URL's login, and that to the
    /// primary, with the URL's database.
    pub(crate) fn split_for_sentinels(self) -> (Self, Self) {
        let primary = RedisConnectionInfo::default()
            .set_db(self.login.db())
            .set_protocol(self.login.protocol());
        let sentinels = Self { tls: self.tls.clone(), login: self.login.set_db(0), user: None };
        (sentinels, Self { tls: self.tls, login: primary, user: self.user })
    }

    /// Fetches the credentials, before any server's time begins.
    pub(crate) async fn ready(&self) -> Result<Login, Failure> {
        let Some((user, source)) = &self.user else {
            return Ok(Login { info: self.login.clone(), password: None, is_last: true });
        };
        let password = source.current(SECRET).await.map_err(|_| NO_PASSWORD)?;
        let info = login(&self.login, user, &password)?;
        Ok(Login { info, password: Some(password), is_last: false })
    }

    /// Makes an attempt that begins with logging in, in this time. If the password is refused and there is
    /// another, which is looked for once, a second attempt is made with that.
    pub(crate) async fn attempt<T, F>(
        &self,
        with: &mut Login,
        patience: Duration,
        what: impl Fn(Login) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let first = timeout(patience, what(with.clone())).await.unwrap_or(Err(Failure::SLOW));
        let refused = match first {
            Err(failure) if failure.kind == FailureKind::Authentication => failure,
            done => return done,
        };
        let (Some((user, source)), Some(password), false) =
            (&self.user, &with.password, with.is_last)
        else {
            return Err(refused);
        };
        with.is_last = true;
        // The password may have been changed meanwhile.
        let other = source.other_than(std::slice::from_ref(password), SECRET).await;
        let other = other.ok_or(refused)?;
        with.info = login(&self.login, user, &other)?;
        with.password = Some(other);
        timeout(patience, what(with.clone())).await.unwrap_or(Err(Failure::SLOW))
    }

    /// Connects and logs in; the caller bounds the time. The connection ends if more than `limit` bytes
    /// arrive while no request is answered.
    pub(crate) async fn connect(
        &self,
        place: &ServerAddress,
        with: &Login,
        limit: usize,
    ) -> Result<Connection, Failure> {
        let info = &with.info;
        let connection = match (place, &self.tls) {
            (ServerAddress::Tcp { host, port, is_named }, None) => {
                open(dial(host, *port, *is_named).await?, info, limit).await
            }
            (ServerAddress::Tcp { host, port, is_named }, Some(tls)) => {
                let stream = dial(host, *port, *is_named).await?;
                open(tls.connect(host, stream).await?, info, limit).await
            }
            #[cfg(unix)]
            (ServerAddress::Unix(path), _) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                open(stream.map_err(|error| unreachable(&error))?, info, limit).await
            }
        }?;
        if let (Some((_, source)), Some(password)) = (&self.user, &with.password) {
            source.accepted(password);
        }
        Ok(connection)
    }
}

/// The credentials of one login.
#[derive(Clone)]
pub(crate) struct Login {
    info: RedisConnectionInfo,
    password: Option<FingerprintedSecret>,
    /// Whether no further password is looked for.
    is_last: bool,
}

const FORBIDDEN: Failure = Failure::lasting(
    FailureKind::Unavailable,
    "a server names an address for it that is never connected to (link-local, unspecified or multicast)",
);

const NO_PASSWORD: Failure =
    Failure::lasting(FailureKind::Authentication, "no password could be read from its source");

fn login(
    to: &RedisConnectionInfo,
    user: &str,
    password: &FingerprintedSecret,
) -> Result<RedisConnectionInfo, Failure> {
    let password = str::from_utf8(password.expose())
        .map_err(|_| Failure::lasting(FailureKind::Authentication, "its password must be UTF-8"))?;
    Ok(to.clone().set_username(user).set_password(password))
}

async fn open<S>(
    stream: S,
    login: &RedisConnectionInfo,
    limit: usize,
) -> Result<Connection, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, meter) = Metered::new(stream, limit);
    // The time is bounded by the caller.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_concurrency_limit(MAX_IN_FLIGHT);
    let (requests, driver) = MultiplexedConnection::new_with_config(login, stream, config)
        .await
        .map_err(|error| Failure::of(&error))?;
    let driver = Arc::new(Driver(tokio::spawn(driver).abort_handle()));
    Ok(Connection { requests, meter, driver })
}

/// Tries the addresses of a name one after the other, so that one that drops packets doesn't hide the rest.
/// If only a server names the host, addresses that no Redis has are left out.
async fn dial(host: &str, port: u16, is_named: bool) -> Result<TcpStream, Failure> {
    let unknown = Failure::lasting(FailureKind::Unavailable, "the name of its host has no address");
    let mut last = unknown;
    for address in tokio::net::lookup_host((host, port)).await.map_err(|_| unknown)? {
        if is_named && is_forbidden(address.ip()) {
            last = FORBIDDEN;
            continue;
        }
        match timeout(PER_ADDRESS, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = unreachable(&error),
            Err(_) => last = unreachable(&io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last)
}

fn unreachable(error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection to its address and port is refused",
        io::ErrorKind::NotFound => "there is no socket at its path",
        io::ErrorKind::PermissionDenied => "its socket may not be opened",
        io::ErrorKind::TimedOut => "its address doesn't answer",
        _ => "no connection to its address can be made",
    };
    Failure::lasting(FailureKind::Unavailable, why)
}

/// A connection that is shared by many requests.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) requests: MultiplexedConnection,
    pub(crate) meter: Arc<Meter>,
    driver: Arc<Driver>,
}

impl Connection {
    /// Returns `true` if the connection is known to have ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.driver.0.is_finished()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.driver, &other.driver)
    }
}

/// The task that reads and writes. It is aborted with the last clone of its connection.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
