//! The kinds of Redis: a link to one server or primary, or a cluster.

use std::fmt;
use std::sync::Arc;

use crate::redis_link::address::ServerAddress;
use crate::redis_link::cluster::Cluster;
use crate::redis_link::link::{Link, Target};

/// The servers that make up one Redis.
#[derive(Clone)]
pub(crate) enum Servers {
    One(Arc<Link>),
    Cluster(Arc<Cluster>),
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, places, tls): (_, &[ServerAddress], _) = match self {
            Self::One(link) => match link.target() {
                Target::Fixed(place) => ("", std::slice::from_ref(place), link.has_tls()),
                Target::Primary(sentinels) => ("Sentinels at ", &sentinels.places, link.has_tls()),
            },
            Self::Cluster(cluster) => ("cluster at ", &cluster.seeds, cluster.access.tls.is_some()),
        };
        f.write_str(what)?;
        for (index, place) in places.iter().enumerate() {
            write!(f, "{}{place:?}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str(if tls { " with TLS" } else { "" })
    }
}
