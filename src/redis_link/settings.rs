//! The public settings of a Redis: its URLs, credentials, certificates and key prefix.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::credentials::source::SecretSource;
use crate::error::ConfigError;
use crate::redis_link::access::Access;
use crate::redis_link::address::{Address, ServerAddress};
use crate::redis_link::cluster::Cluster;
use crate::redis_link::link::{Link, Target};
use crate::redis_link::outage::{Outage, User};
use crate::redis_link::sentinel::Sentinels;
use crate::redis_link::servers::Servers;
use crate::redis_link::tls::{Identity, Tls, TlsSettings};
use crate::secret::Secret;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

/// The address of a Redis or Valkey, and how to authenticate: one server, a cluster, or a primary behind
/// Sentinels.
///
/// A string with a URL can be used in place of one for a single server. Nothing is connected, read or checked
/// before a store is created from it.
///
/// A URL is `redis://[[user]:password@]host[:port][/database]`, `rediss://…` with TLS, or, for one server,
/// `redis+unix:///path/to/socket[?db=…&user=…&pass=…]`; the scheme may be `valkey` instead of `redis`. Only
/// `rediss://` encrypts connections and authenticates servers, including those that a cluster or Sentinels
/// name. `?protocol=resp3` selects RESP3.
///
/// # One server
///
/// One connection, which is made when it is first needed, carries all requests. After a failure it is made
/// again, following a pause of 100 milliseconds that doubles up to a second while failures continue; until
/// then every request fails at once. No request is sent twice. Connecting may take 3 seconds.
///
/// # A cluster
///
/// There is such a connection to each server that is needed. `CLUSTER SLOTS` returns which server has which
/// slot. It is sent to one server after the other, with 1 second each, at the start; and again, twice a
/// second at most, when a server fails or redirects a request. A request follows at most 4 redirections
/// within its time, and goes to another server if the one that had its slot can't be reached. So when a
/// server is lost, only requests for its slots fail, until its replica has taken over. Replicas are not read
/// from.
///
/// # Sentinels
///
/// For each new connection, the Sentinels are asked for the primary's address one after the other, with 1
/// second each, and the server that they name must report that it is a primary (`HELLO`, Redis 6 and later);
/// else the next Sentinel is asked. A failover ends the connection to the old primary.
///
/// # Addresses that servers name
///
/// Addresses that servers of a cluster and Sentinels name are trusted: private and loopback addresses are
/// connected to. Addresses that no Redis has are refused, by whatever name they are given: link-local,
/// unspecified and multicast ones, and those of cloud metadata services. URLs may have them. After the first
/// answer for a cluster, an answer without any ID of its known servers belongs to another cluster. It is
/// accepted only from a configured address, once no server answers for the known cluster. Slots for which an
/// answer names no server stay with the server that had them.
///
/// An attacker who controls a Sentinel can therefore name a server that is then sent the password. With
/// `rediss://` and your own authority as [`root_certificates`](Self::root_certificates), that server needs a
/// certificate of that authority, and with [`server_name`](Self::server_name) one for that name.
///
/// # Permissions
///
/// Besides the permissions that a store needs, an ACL user of a cluster needs `+cluster|slots` and `+asking`;
/// that of the Sentinels needs `+sentinel|get-master-addr-by-name`. For a database other than 0, `+select` is
/// needed.
///
/// # Examples
///
/// ```no_run
/// use tower_bearer::client::{FileSecret, Redis, RedisStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::cluster(["rediss://cache-0.internal", "rediss://cache-1.internal"])
///     .root_certificates(std::fs::read("/etc/redis/ca.pem")?)
///     .client_certificate_files("/run/tls/tls.crt", "/run/tls/tls.key")
///     .credentials("billing", FileSecret::new("/run/secrets/redis"))
///     .key_prefix("billing:");
/// let store = RedisStore::new(redis)?;
/// store.check().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Redis {
    kind: Kind,
    addresses: Vec<Result<Address, ConfigError>>,
    user: Option<(String, SecretSource)>,
    tls: TlsSettings,
    prefix: Arc<str>,
}

#[derive(Clone)]
enum Kind {
    Server,
    Cluster,
    Sentinel { primary: String },
}

impl Redis {
    /// Creates settings for one server at this URL: a primary whose name follows failovers, or a proxy.
    pub fn server(url: impl AsRef<str>) -> Self {
        Self::at(Kind::Server, [url], PORT)
    }

    /// Creates settings for a cluster, some of whose servers are at these URLs. The others are discovered.
    ///
    /// The URLs must agree in all but host and port. The database is 0, the only one that a cluster has.
    pub fn cluster<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Self {
        Self::at(Kind::Cluster, urls, PORT)
    }

    /// Creates settings for the primary that the Sentinels at these URLs know by this name, such as `mymaster`.
    ///
    /// The URLs must agree in all but host and port, which is 26379 by default. Their user name and
    /// password are for the Sentinels; those for the primary are [`credentials`](Self::credentials).
    /// Their database is that of the primary.
    pub fn sentinel<U: AsRef<str>>(
        primary: impl Into<String>,
        urls: impl IntoIterator<Item = U>,
    ) -> Self {
        Self::at(Kind::Sentinel { primary: primary.into() }, urls, SENTINEL_PORT)
    }

    fn at<U: AsRef<str>>(kind: Kind, urls: impl IntoIterator<Item = U>, port: u16) -> Self {
        let addresses = urls.into_iter().map(|url| Address::parse(url.as_ref(), port)).collect();
        Self { kind, addresses, user: None, tls: TlsSettings::default(), prefix: "".into() }
    }

    /// Logs in as this user, with a password that may change while the process runs. A Redis with a password
    /// and no users has the user `default`.
    ///
    /// The source is asked when a connection is made, at most as often as [`SecretSource::max_age`] sets. If
    /// the password is refused, the source is asked at once, and another password that it has is tried, or
    /// else the last one that was accepted. So the password may be changed at the Redis or in the source
    /// first. A provider has 1.5 seconds each time, which are part of the 3 seconds of a connection and not of
    /// the time of one server; if it takes longer, its last answer is used.
    #[must_use]
    pub fn credentials(
        mut self,
        user: impl Into<String>,
        password: impl Into<SecretSource>,
    ) -> Self {
        self.user = Some((user.into(), password.into()));
        self
    }

    /// Trusts the certificate authorities in this PEM instead of those of the system.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.tls.roots.push(pem.as_ref().to_vec());
        self
    }

    /// Presents this certificate (PEM, the private key and the chain).
    #[must_use]
    pub fn client_certificate(mut self, pem: &Secret) -> Self {
        self.tls.identities.push(Identity::Pem(pem.clone()));
        self
    }

    /// Presents the certificate in these files: the chain, and the private key, both as PEM.
    ///
    /// They are read when the store is created, and again before a new connection, once a second at most. While
    /// the files don't hold a certificate and its key, such as while one of them is written, or if reading them
    /// takes longer than 300 milliseconds, the previous certificate is presented. While a read hangs, no other
    /// begins.
    #[must_use]
    pub fn client_certificate_files(
        mut self,
        chain: impl Into<PathBuf>,
        private_key: impl Into<PathBuf>,
    ) -> Self {
        self.tls.identities.push(Identity::files(chain, private_key));
        self
    }

    /// Expects certificates for this name or IP address instead of the server's address.
    ///
    /// Servers of a cluster and Sentinels often name others by IP addresses, which few certificates
    /// contain.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.tls.name = Some(name.into());
        self
    }

    /// Sets a prefix of all keys, such as `app:` where the ACL of the Redis permits `~app:*`. By default
    /// there is none, and keys begin with `tower-bearer:`.
    ///
    /// Processes that share their data need the same prefix. In a cluster, a prefix with a text in braces puts
    /// all keys into one slot.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into().into();
        self
    }

    pub(crate) fn prefix(&self) -> Arc<str> {
        Arc::clone(&self.prefix)
    }

    /// Checks the settings and prepares the links, without connecting.
    pub(crate) fn open(self, user: User) -> Result<Servers, ConfigError> {
        let mut addresses = self.addresses.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter();
        let Some(first) = addresses.next() else {
            return Err(ConfigError::new("no URL of the Redis is set"));
        };
        let mut places = vec![first.place.clone()];
        for other in addresses {
            if !first.agrees_with(&other) {
                return Err(ConfigError::new(
                    "the URLs of the Redis must agree in all but host and port",
                ));
            }
            places.push(other.place);
        }
        let is_network = places.iter().all(|place| matches!(place, ServerAddress::Tcp { .. }));
        if !is_network && !matches!(self.kind, Kind::Server) {
            return Err(ConfigError::new("the path of a socket is for a single server only"));
        }
        let is_sentinel = matches!(self.kind, Kind::Sentinel { .. });
        let has_login = first.login.username().is_some() || first.login.password().is_some();
        if has_login && self.user.is_some() && !is_sentinel {
            return Err(ConfigError::new(
                "the Redis has two logins: leave .credentials(…) out, or the URL's",
            ));
        }
        if first.login.username().is_some() && first.login.password().is_none() {
            return Err(ConfigError::new(
                "the URL of the Redis has a user without a password: write redis://user:password@host, or \
                 leave the user out and give .credentials(…)",
            ));
        }
        if !first.tls && !self.tls.is_empty() {
            return Err(ConfigError::new(
                "certificates can only be used with a rediss:// URL of the Redis",
            ));
        }
        let tls = first.tls.then(|| Tls::new(&self.tls).map(Arc::new)).transpose()?;
        if self.tls.name.is_none() && tls.is_some() {
            for place in &places {
                if let ServerAddress::Tcp { host, .. } = place {
                    crate::redis_link::tls::server_name(host)?;
                }
            }
        }
        let outage = Outage::new(user);
        let access = Access { tls, login: first.login, user: self.user };
        Ok(match self.kind {
            Kind::Server => {
                let place = places.swap_remove(0);
                Servers::One(Link::new(Target::Fixed(place), Arc::new(access), outage))
            }
            Kind::Cluster if access.login.db() != 0 => {
                return Err(ConfigError::new("a cluster has only the database 0"));
            }
            Kind::Cluster => Servers::Cluster(Cluster::new(places, Arc::new(access), outage)),
            Kind::Sentinel { primary } => {
                let (sentinels, access) = access.split_for_sentinels();
                let target = Target::Primary(Sentinels::new(primary, places, sentinels));
                Servers::One(Link::new(target, Arc::new(access), outage))
            }
        })
    }
}

impl From<&str> for Redis {
    fn from(url: &str) -> Self {
        Self::server(url)
    }
}

impl From<&String> for Redis {
    fn from(url: &String) -> Self {
        Self::server(url)
    }
}

impl From<String> for Redis {
    fn from(url: String) -> Self {
        Self::server(url)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Server => "Redis",
            Kind::Cluster => "Redis cluster",
            Kind::Sentinel { .. } => "Redis of Sentinels",
        })?;
        let addresses = self.addresses.iter();
        f.debug_list().entries(addresses.filter_map(|address| address.as_ref().ok())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(redis: Redis) -> String {
        let error = redis.open(User::TokenCache).expect_err("it is refused");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary"), "{shown}");
        shown
    }

    fn shown(redis: impl Into<Redis>) -> String {
        format!("{:?}", redis.into().open(User::TokenCache).unwrap())
    }

    #[test]
    fn each_kind_says_where_it_is() {
        assert_eq!(shown("redis://u:canary@localhost/3"), "localhost:6379");
        let url = "redis://localhost".to_owned();
        assert_eq!(shown(&url), "localhost:6379");
        assert_eq!(shown(url), "localhost:6379");
        let cluster = Redis::cluster(["redis://:canary@a", "redis://:canary@b:7000"]);
        assert_eq!(shown(cluster), "cluster at a:6379, b:7000");
        let sentinel = Redis::sentinel("mymaster", ["redis://a/2", "redis://b:5000/2"]);
        assert_eq!(shown(sentinel), "Sentinels at a:26379, b:5000");
        let all = Redis::cluster(["redis://:canary@a", "canary"]).credentials("canary", "canary");
        assert_eq!(format!("{all:?}"), "Redis cluster[a:6379]");
    }

    #[test]
    fn what_can_t_be_meant_is_refused() {
        let none: [&str; 0] = [];
        assert!(refused(Redis::cluster(none)).contains("no URL"));
        let agree = "agree in all but host";
        for other in ["rediss://b", "redis://:canary@b", "redis://u:@b", "redis://b/1"] {
            assert!(refused(Redis::cluster(["redis://a", other])).contains(agree), "{other}");
            assert!(refused(Redis::sentinel("m", ["redis://a", other])).contains(agree), "{other}");
        }
        refused(Redis::cluster(["redis://a", "redis://b?protocol=resp3"]));
        assert!(refused(Redis::cluster(["redis://a/1"])).contains("database"));
        #[cfg(unix)]
        refused(Redis::sentinel("m", ["redis+unix:///canary"]));
        let both = Redis::server("redis://:canary@a").credentials("canary", "canary");
        assert!(refused(both).contains("two logins"));
        for alone in ["redis://svc@a", "redis://svc:@a", "redis+unix:///a?user=svc"] {
            assert!(refused(Redis::server(alone)).contains("without a password"), "{alone}");
        }
        let alone = Redis::sentinel("m", ["redis://svc@a"]).credentials("u", "canary");
        assert!(refused(alone).contains("without a password"));
        assert_eq!(shown("redis://svc:canary@a"), "a:6379");
        for plain in [
            Redis::server("redis://a").root_certificates("canary"),
            Redis::server("redis://a").client_certificate(&Secret::new("canary")),
            Redis::server("redis://a").client_certificate_files("canary", "canary"),
            Redis::server("redis://a").server_name("canary"),
        ] {
            assert!(refused(plain).contains("rediss://"));
        }
        // The good case: Sentinels have a login of their own.
        let sentinel = Redis::sentinel("m", ["redis://:canary@a"]).credentials("u", "canary");
        assert_eq!(shown(sentinel), "Sentinels at a:26379");
    }

    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn tls_is_had_for_the_asking() {
        assert_eq!(shown("rediss://cache.example"), "cache.example:6379 with TLS");
        assert_eq!(shown("valkeys://:secret@127.0.0.1:7000/3"), "127.0.0.1:7000 with TLS");
        assert!(refused(Redis::server("rediss://ho_st.-")).contains("certificate"));
        refused(Redis::server("rediss://a").server_name("ca nary"));
        refused(Redis::server("rediss://a").root_certificates("canary"));
    }

    #[cfg(not(feature = "aws-lc-rs"))]
    #[test]
    fn tls_that_nobody_provides_is_refused_and_the_rest_is_not() {
        assert!(refused(Redis::server("rediss://cache.example")).contains("CryptoProvider"));
        assert_eq!(shown("redis://cache.example"), "cache.example:6379");
    }
}
