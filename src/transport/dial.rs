//! Resolves host names for the default transport, and drops addresses that may not be dialled.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::transport::address::{is_forbidden, is_loopback, is_public};

/// Which of a name's addresses are dialled.
#[derive(Clone, Copy)]
pub(crate) enum Dial {
    /// All addresses that aren't forbidden.
    Usual,
    /// Public addresses, and loopback ones for `localhost`.
    Direct,
}

impl Dial {
    fn allows(self, host: &str, address: IpAddr) -> bool {
        match self {
            _ if is_localhost(host) => is_loopback(address),
            Self::Usual => !is_forbidden(address),
            Self::Direct => is_public(address),
        }
    }
}

/// Returns `true` for `localhost` and names below it (RFC 6761 §6.3).
pub(crate) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// Resolves names and drops the addresses that may not be dialled. This is the last check before the
/// connection is made, so that DNS rebinding doesn't help.
pub(crate) struct Filter {
    pub(crate) names: Arc<dyn Resolve>,
    pub(crate) dial: Dial,
}

impl Resolve for Filter {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, dial) = (name.as_str().to_owned(), self.dial);
        let resolving = self.names.resolve(name);
        Box::pin(async move {
            let mut any = false;
            let found = resolving.await.map_err(|_| Unresolved)?.inspect(|_| any = true);
            let allowed: Vec<SocketAddr> =
                found.filter(|address| dial.allows(&host, address.ip())).collect();
            if allowed.is_empty() {
                return Err(if any { Blocked.into() } else { Unresolved.into() });
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The system's resolver.
pub(crate) struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let lookup = move || (name.as_str(), 0).to_socket_addrs();
            let found = tokio::task::spawn_blocking(lookup).await??;
            Ok(Box::new(found) as Addrs)
        })
    }
}

/// The error of a name all of whose addresses must not be dialled.
#[derive(Debug, thiserror::Error)]
#[error("the host's address must not be dialled")]
pub(crate) struct Blocked;

/// The error of a name without an address.
#[derive(Debug, thiserror::Error)]
#[error("the host's name has no address")]
pub(crate) struct Unresolved;
