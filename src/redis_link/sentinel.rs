//! Finds the primary by asking Sentinels, and connects to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{Value, cmd, from_redis_value};
use tokio::time::timeout;

use crate::redis_link::access::{Access, Connection, Login, MAX_UNANSWERED};
use crate::redis_link::address::ServerAddress;
use crate::redis_link::failure::{Failure, FailureKind};

/// How long one Sentinel may take to answer.
const PER_SENTINEL: Duration = Duration::from_secs(1);

/// How long connecting to the server that it names may take.
const PER_SERVER: Duration = Duration::from_millis(1500);

/// How many bytes a Sentinel may send: an address has far fewer.
const MAX_ANSWER: usize = 64 * 1024;

const UNKNOWN: Failure =
    Failure::lasting(FailureKind::Other, "the Sentinels know no primary of this name");

const UNREADABLE: Failure =
    Failure::lasting(FailureKind::Other, "a Sentinel's answer isn't the address of a server");

const STRANGER: Failure = Failure::lasting(
    FailureKind::Unavailable,
    "the server that the Sentinels name is not a primary",
);

/// The Sentinels, which are asked for the primary's address for each new connection.
pub(crate) struct Sentinels {
    /// The name of the primary.
    pub(crate) primary: String,
    pub(crate) places: Vec<ServerAddress>,
    pub(crate) access: Access,
    /// The index of the Sentinel that is asked first: the last one that led to a primary, or else the one
    /// after the last that didn't.
    first: AtomicUsize,
}

impl Sentinels {
    pub(crate) fn new(primary: String, places: Vec<ServerAddress>, access: Access) -> Arc<Self> {
        Arc::new(Self { primary, places, access, first: AtomicUsize::new(0) })
    }

    /// Connects to the primary. If Sentinels disagree, one may be cut off from the others: each address that
    /// they name is tried once.
    pub(crate) async fn connect(&self, access: &Access) -> Result<Connection, Failure> {
        let mut login = access.ready().await?;
        let (mut tried, mut silent, mut wrong) = (Vec::new(), Failure::SILENT, None);
        let first = self.first.load(Ordering::Relaxed);
        let places = self.places.iter().enumerate();
        for (index, place) in places.cycle().skip(first).take(self.places.len()) {
            // Sentinels that never answer would otherwise use up the time of each connection.
            self.first.store(index.saturating_add(1), Ordering::Relaxed);
            let named = timeout(PER_SENTINEL, self.ask(place)).await.unwrap_or(Err(Failure::SLOW));
            let named = match named {
                Ok(Some(named)) => named,
                Ok(None) => {
                    wrong.get_or_insert(UNKNOWN);
                    continue;
                }
                Err(failure) => {
                    silent = failure;
                    continue;
                }
            };
            if tried.contains(&named) {
                continue;
            }
            let connect = |login| connect_to_primary(&named, access, login);
            match access.attempt(&mut login, PER_SERVER, connect).await {
                Ok(connection) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(failure) => wrong = Some(failure),
            }
            tried.push(named);
        }
        Err(wrong.unwrap_or(silent))
    }

    /// Asks one Sentinel for the primary's address.
    async fn ask(&self, place: &ServerAddress) -> Result<Option<ServerAddress>, Failure> {
        let login = self.access.ready().await?;
        let mut sentinel = self.access.connect(place, &login, MAX_ANSWER).await?;
        let mut command = cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.primary);
        let answer: Value = command
            .query_async(&mut sentinel.requests)
            .await
            .map_err(|error| Failure::of(&error))?;
        match answer {
            Value::Nil => Ok(None),
            answer => {
                let (host, port): (String, u16) =
                    from_redis_value(answer).map_err(|_| UNREADABLE)?;
                ServerAddress::named(&host, port).map(Some).ok_or(UNREADABLE)
            }
        }
    }
}

/// Connects to a server that must be a primary, which `HELLO` shows. Every user may send that.
async fn connect_to_primary(
    place: &ServerAddress,
    access: &Access,
    login: Login,
) -> Result<Connection, Failure> {
    let mut connection = access.connect(place, &login, MAX_UNANSWERED).await?;
    let about: HashMap<String, Value> = cmd("HELLO")
        .query_async(&mut connection.requests)
        .await
        .map_err(|error| Failure::of(&error))?;
    connection.meter.reset();
    let role = about.get("role").cloned().map(from_redis_value::<String>);
    match role {
        Some(Ok(role)) if role == "master" || role == "primary" => Ok(connection),
        _ => Err(STRANGER),
    }
}
