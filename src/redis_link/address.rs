//! Addresses of servers, and the URLs that they are configured by.

use std::fmt;
use std::path::PathBuf;

use redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};

use crate::error::ConfigError;

/// The longest name that DNS has.
const MAX_HOST: usize = 253;

/// The address of a server.
#[derive(Clone)]
pub(crate) enum ServerAddress {
    Tcp {
        host: String,
        port: u16,
        /// Whether it comes from another server, and not from configuration: then some addresses are refused.
        is_named: bool,
    },
    #[cfg(unix)]
    Unix(PathBuf),
}

impl ServerAddress {
    #[cfg(test)]
    pub(crate) fn configured(host: &str, port: u16) -> Self {
        Self::Tcp { host: host.to_owned(), port, is_named: false }
    }

    /// Takes the address that a server names for another one; `None` if it isn't valid.
    pub(crate) fn named(host: &str, port: u16) -> Option<Self> {
        let is_host = !host.is_empty()
            && host.len() <= MAX_HOST
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte));
        let place = || Self::Tcp { host: host.to_owned(), port, is_named: true };
        (is_host && port != 0).then(place)
    }

    /// Reads `host:port`; without a host, this server's is meant.
    pub(crate) fn read(&self, address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        self.beside(host, port.parse().ok()?)
    }

    /// Returns the address with this host, or with this server's if the host is empty.
    pub(crate) fn beside(&self, host: &str, port: u16) -> Option<Self> {
        match self {
            Self::Tcp { host: own, is_named, .. } if host.is_empty() => {
                let (host, is_named) = (own.clone(), *is_named);
                (port != 0).then_some(Self::Tcp { host, port, is_named })
            }
            _ => Self::named(host, port),
        }
    }
}

impl PartialEq for ServerAddress {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp { host, port, .. }, Self::Tcp { host: other, port: other_port, .. }) => {
                host == other && port == other_port
            }
            #[cfg(unix)]
            (Self::Unix(path), Self::Unix(other)) => path == other,
            #[cfg(unix)]
            _ => false,
        }
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The contents of a URL.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) place: ServerAddress,
    pub(crate) tls: bool,
    pub(crate) login: RedisConnectionInfo,
}

impl Address {
    /// Reads a URL, with a default for its port.
    pub(crate) fn parse(url: &str, default_port: u16) -> Result<Self, ConfigError> {
        // The URL may have a password, so no error repeats any part of it.
        let mut url = redis::parse_redis_url(url).ok_or_else(|| {
            ConfigError::new(
                "the URL of the Redis can't be read: write it like redis://host:6379/0",
            )
        })?;
        if url.fragment().is_some() {
            return Err(ConfigError::new(
                "the URL of the Redis must have no fragment; a '#' in a password is written %23",
            ));
        }
        let unix = url.scheme().ends_with("unix");
        if !unix && url.query_pairs().any(|(name, _)| name != "protocol") {
            return Err(ConfigError::new(
                "the URL of the Redis may have no parameter but 'protocol'; the database's number \
                 is its path",
            ));
        }
        let tls = match url.scheme() {
            "rediss" => url.set_scheme("redis").is_ok(),
            "valkeys" => url.set_scheme("valkey").is_ok(),
            _ => false,
        };
        let port = url.port().unwrap_or(default_port);
        let info = url.into_connection_info().map_err(|_| {
            ConfigError::new(
                "the URL of the Redis needs a host or the path of a socket, a number as the \
                 database, and percent-encoded UTF-8 as name and password",
            )
        })?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, _) => {
                ServerAddress::Tcp { host: host.clone(), port, is_named: false }
            }
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => ServerAddress::Unix(path.clone()),
            _ => return Err(ConfigError::new("the URL of the Redis has no address to connect to")),
        };
        Ok(Self { place, tls, login: info.redis_settings().clone() })
    }

    /// Returns `true` if both have the same credentials, database and TLS.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        let (one, two) = (&self.login, &other.login);
        self.tls == other.tls
            && one.username() == two.username()
            && one.password() == two.password()
            && one.db() == two.db()
            && one.protocol() == two.protocol()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.place, if self.tls { " with TLS" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        format!("{:?}", Address::parse(url, 6379).unwrap())
    }

    #[test]
    fn urls_are_read() {
        assert_eq!(shown("redis://localhost"), "localhost:6379");
        assert_eq!(shown("valkey://cache.example:7000/3"), "cache.example:7000");
        assert_eq!(shown("redis://[::1]:6380/?protocol=resp3"), "::1:6380");
        assert_eq!(shown("rediss://cache.example"), "cache.example:6379 with TLS");
        assert_eq!(shown("valkeys://:secret@127.0.0.1:7000/3"), "127.0.0.1:7000 with TLS");
        #[cfg(unix)]
        assert_eq!(shown("redis+unix:///run/redis.sock?db=3&user=a&pass=b"), "/run/redis.sock");

        let url = "redis://us%65r:p%25%3A%2B%2F%20%26%3Ds@host/3";
        let address = Address::parse(url, 26_379).unwrap();
        assert_eq!(format!("{address:?}"), "host:26379");
        assert_eq!(address.login.username(), Some("user"));
        assert_eq!(address.login.password(), Some("p%:+/ &=s"));
        assert_eq!(address.login.db(), 3);
    }

    // L1
    #[test]
    fn l1_bad_urls_are_refused_and_not_repeated() {
        for url in [
            "",
            "canary",
            "http://canary:canary@host",
            "redis://",
            "redis://:canary@",
            "redis://:canary@0.0.0.0",
            "redis://:canary@host:port",
            "redis://:canary@host:70000",
            "redis://:canary@host/canary",
            "redis://:canary@host/0?db=canary",
            "redis://:canary@host?protocol=canary",
            "redis://:can#ary@host",
            "redis://canary:%ff@host",
            "redis://%ff:canary@host",
            "rediss://:canary@host#insecure",
            "rediss://:canary@ho_st/x",
            "redis+unix:///path?db=canary",
        ] {
            let error = Address::parse(url, 6379).err().unwrap_or_else(|| panic!("{url} is taken"));
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("canary") && !shown.contains("ary@"), "{shown}");
        }
    }

    #[test]
    fn what_servers_say_of_others_is_read_or_not_taken_for_a_place() {
        let here = ServerAddress::configured("here", 1);
        let read = |text| here.read(text).map(|place| format!("{place:?}"));
        assert_eq!(read("10.0.0.1:6379").as_deref(), Some("10.0.0.1:6379"));
        assert_eq!(read("node-0.redis:6379").as_deref(), Some("node-0.redis:6379"));
        assert_eq!(read("fd00::1:6379").as_deref(), Some("fd00::1:6379"));
        assert_eq!(read(":6380").as_deref(), Some("here:6380"));
        let long = format!("{}:6379", "x".repeat(MAX_HOST + 1));
        for bad in ["", ":", "host", "host:", "host:0", "host:65536", "ho st:1", "a\n:1", "?:1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&long), None);
    }
}
