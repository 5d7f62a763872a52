//! Which peers are trusted proxies, by an extension of the request.

use std::any::type_name;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::Extensions;

use crate::binding::network::Network;
use crate::error::ConfigError;

/// The peers that may say what isn't believed of the client itself.
#[derive(Clone, Default)]
pub(crate) struct Peers(Vec<Listed>);

#[derive(Clone)]
struct Listed {
    /// The type of the extension.
    name: &'static str,
    judge: Arc<dyn Fn(&Extensions) -> Peer + Send + Sync>,
}

/// The peer that a request came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Peer {
    Trusted,
    Other,
    /// The request doesn't say where it came from.
    Unknown,
}

impl Peers {
    pub(crate) const fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Trusts peers with these addresses. An extension of this type has a request's peer address.
    fn add_networks<T, F>(&mut self, networks: Vec<Network>, address: F)
    where
        T: Send + Sync + 'static,
        F: Fn(&T) -> Option<IpAddr> + Send + Sync + 'static,
    {
        let judge = move |extensions: &Extensions| {
            let address = extensions.get::<T>().and_then(&address);
            address.map_or(Peer::Unknown, |address| {
                let is_listed = networks.iter().any(|network| network.contains(address));
                if is_listed { Peer::Trusted } else { Peer::Other }
            })
        };
        self.0.push(Listed { name: type_name::<T>(), judge: Arc::new(judge) });
    }

    /// Trusts peers in these networks, as an operator writes them.
    ///
    /// # Errors
    ///
    /// If one isn't a network.
    pub(crate) fn add<I, T, F>(&mut self, networks: I, address: F) -> Result<(), ConfigError>
    where
        I: IntoIterator<Item: AsRef<str>>,
        T: Send + Sync + 'static,
        F: Fn(&T) -> Option<IpAddr> + Send + Sync + 'static,
    {
        let networks = networks.into_iter().map(|it| Network::parse(it.as_ref()));
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        if !networks.is_empty() {
            self.add_networks(networks, address);
        }
        Ok(())
    }

    /// Trusts the peer of every request that has an extension of this type.
    #[cfg_attr(not(feature = "mtls"), allow(dead_code, reason = "for certificates"))]
    pub(crate) fn add_type<T: Send + Sync + 'static>(&mut self) {
        let judge = |extensions: &Extensions| match extensions.get::<T>() {
            Some(_) => Peer::Trusted,
            None => Peer::Unknown,
        };
        self.0.push(Listed { name: type_name::<T>(), judge: Arc::new(judge) });
    }

    /// Returns the peer that a request came from. An unknown peer isn't the same as one that isn't trusted,
    /// but is never trusted more.
    pub(crate) fn judge(&self, extensions: &Extensions) -> Peer {
        let mut peer = Peer::Unknown;
        for Listed { judge, .. } in &self.0 {
            match judge(extensions) {
                Peer::Trusted => return Peer::Trusted,
                Peer::Other => peer = Peer::Other,
                Peer::Unknown => {}
            }
        }
        peer
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|listed| listed.name)).finish()
    }
}
