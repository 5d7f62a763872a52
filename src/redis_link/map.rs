//! Which server of a cluster has which slots.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::redis_link::address::ServerAddress;
use crate::redis_link::link::Link;
use crate::redis_link::slots::{MAX_NODES, SLOTS};

/// The entry of a slot that no server has.
const NOBODY: u16 = u16::MAX;

/// The servers of a cluster, and which of them has each slot.
pub(crate) struct Map {
    /// For each slot, the index of its server.
    owners: Vec<u16>,
    pub(crate) nodes: Vec<Node>,
    /// The IDs of all servers, whatever their addresses.
    ids: HashSet<String>,
}

/// A server of the cluster.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) place: ServerAddress,
    pub(crate) link: Arc<Link>,
}

/// The error of a map with more servers than are supported.
#[derive(Debug)]
pub(crate) struct TooManyServers;

impl Map {
    pub(crate) fn new(ids: HashSet<String>) -> Self {
        Self { owners: vec![NOBODY; SLOTS.into()], nodes: Vec::new(), ids }
    }

    /// Returns `true` if these are IDs of servers of the same cluster. Servers without IDs can't be
    /// distinguished.
    pub(crate) fn is_of(&self, ids: &HashSet<String>) -> bool {
        self.ids.is_empty() || !self.ids.is_disjoint(ids)
    }

    pub(crate) fn owner(&self, slot: u16) -> Option<Node> {
        let index = self.owners.get(usize::from(slot))?;
        self.nodes.get(usize::from(*index)).cloned()
    }

    /// Returns the servers that have slots, if all slots are covered.
    pub(crate) fn owners(&self) -> Option<Vec<ServerAddress>> {
        let owners: BTreeSet<_> = self.owners.iter().copied().collect();
        let place = |index| self.nodes.get(usize::from(index)).map(|node| node.place.clone());
        owners.into_iter().map(place).collect()
    }

    /// Assigns slots to a server, and returns it.
    pub(crate) fn give(
        &mut self,
        slots: impl IntoIterator<Item = u16>,
        place: &ServerAddress,
        link: impl FnOnce() -> Arc<Link>,
    ) -> Result<Node, TooManyServers> {
        let known = self.nodes.iter().position(|node| node.place == *place);
        let index = known.unwrap_or(self.nodes.len());
        let number =
            u16::try_from(index).ok().filter(|_| index < MAX_NODES).ok_or(TooManyServers)?;
        if known.is_none() {
            self.nodes.push(Node { place: place.clone(), link: link() });
        }
        for slot in slots {
            if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
                *owner = number;
            }
        }
        self.nodes.get(index).cloned().ok_or(TooManyServers)
    }

    /// Assigns the slots that no server has to the servers that had them before.
    pub(crate) fn fill(&mut self, before: &Self) -> Result<(), TooManyServers> {
        for slot in 0..SLOTS {
            if self.owner(slot).is_some() {
                continue;
            }
            if let Some(Node { place, link }) = before.owner(slot) {
                self.give([slot], &place, || link)?;
            }
        }
        Ok(())
    }
}
