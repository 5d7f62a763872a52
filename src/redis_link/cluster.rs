//! A Redis cluster: connections to its servers, and which of them has which slot.

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::clock::{doubled, monotonic};
use crate::redis_link::access::{Access, Login};
use crate::redis_link::address::ServerAddress;
use crate::redis_link::failure::{Failure, FailureKind};
use crate::redis_link::link::{CONNECT, FIRST_PAUSE, LONGEST_ATTEMPT, LONGEST_PAUSE, Link, Target};
use crate::redis_link::map::{Map, Node};
use crate::redis_link::outage::{Outage, Share};
use crate::redis_link::slots::{Answer, Range, read};

/// How long one server may take to answer which server has which slots.
const PER_NODE: Duration = Duration::from_secs(1);

/// How many bytes that answer may have: enough even if no two adjacent slots have the same server.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The least time between two such requests, unless one failed.
const REST: Duration = Duration::from_millis(500);

const UNREADABLE: Failure = Failure::lasting(
    FailureKind::Cluster,
    "the answer doesn't say which servers have the cluster's slots",
);

const UNCOVERED: Failure =
    Failure::passing(FailureKind::Cluster, "no server of the cluster has the slot of the key");

const FOREIGN: Failure =
    Failure::lasting(FailureKind::Cluster, "the server that answers belongs to another cluster");

const CROWDED: Failure =
    Failure::passing(FailureKind::Cluster, "the cluster has more servers than are supported");

/// A cluster: a link for each server that is needed, and the map of slots. The map is requested when it is
/// first needed, and again in the background when a server fails or redirects a request.
pub(crate) struct Cluster {
    pub(crate) seeds: Vec<ServerAddress>,
    pub(crate) access: Arc<Access>,
    outage: Arc<Outage>,
    state: watch::Sender<State>,
}

struct State {
    map: Option<Map>,
    /// Whether the map may be outdated.
    is_stale: bool,
    /// Since when a server is being asked.
    asking: Option<Instant>,
    /// No server is asked before this time.
    due: Instant,
    /// How many attempts in a row found no map, and why the last one didn't.
    failures: u32,
    reason: Failure,
    share: Option<Share>,
    /// Which server is asked first, another one each time.
    round: usize,
}

impl Cluster {
    pub(crate) fn new(
        seeds: Vec<ServerAddress>,
        access: Arc<Access>,
        outage: Arc<Outage>,
    ) -> Arc<Self> {
        let state = watch::Sender::new(State {
            map: None,
            is_stale: false,
            asking: None,
            due: monotonic(),
            failures: 0,
            reason: Failure::ENDED,
            share: None,
            round: 0,
        });
        Arc::new(Self { seeds, access, outage, state })
    }

    /// Returns the server that has a slot, after asking for the map if there is none.
    pub(crate) async fn owner(self: &Arc<Self>, slot: u16) -> Result<Node, Failure> {
        let owner = self.with_map(|map| map.owner(slot)).await?;
        owner.ok_or_else(|| {
            self.suspect();
            UNCOVERED
        })
    }

    /// Returns the servers that have slots, if all slots are covered.
    pub(crate) async fn owners(self: &Arc<Self>) -> Result<Vec<ServerAddress>, Failure> {
        self.with_map(Map::owners).await?.ok_or(UNCOVERED)
    }

    /// Returns the server that has the slot instead of one that can't be reached, if the map knows it, or
    /// does after it was requested again.
    pub(crate) async fn successor(self: &Arc<Self>, slot: u16, lost: &Node) -> Option<Node> {
        self.suspect();
        let mut states = self.state.subscribe();
        self.start_asking();
        let state = states.wait_for(|state| state.asking.is_none()).await.ok()?;
        let owner = state.map.as_ref()?.owner(slot)?;
        (owner.place != lost.place).then_some(owner)
    }

    async fn with_map<T>(self: &Arc<Self>, found: impl Fn(&Map) -> T) -> Result<T, Failure> {
        let mut states = self.state.subscribe();
        self.start_asking();
        let state = states.wait_for(|state| state.map.is_some() || state.asking.is_none()).await;
        let state = state.map_err(|_| Failure::ENDED)?;
        state.map.as_ref().map(found).ok_or(state.reason)
    }

    /// Starts asking for the map, if that is due and not under way.
    fn start_asking(self: &Arc<Self>) {
        let now = monotonic();
        let begins = self.state.send_if_modified(|state| {
            let is_needed = state.map.is_none() || state.is_stale;
            let is_over = |since: Instant| now.saturating_duration_since(since) >= LONGEST_ATTEMPT;
            let due = is_needed && state.asking.is_none_or(is_over) && state.due <= now;
            if due {
                state.asking = Some(now);
            }
            due
        });
        if begins {
            tokio::spawn(Question { cluster: Arc::clone(self), since: now, ended: false }.run());
        }
    }

    /// Marks the map as possibly outdated, after a failure.
    pub(crate) fn suspect(&self) {
        self.state.send_if_modified(|state| {
            state.is_stale = true;
            false
        });
    }

    #[cfg(test)]
    pub(crate) fn trust(&self) {
        self.state.send_modify(|state| state.is_stale = false);
    }

    #[cfg(test)]
    pub(crate) fn is_suspect(&self) -> bool {
        self.state.borrow().is_stale
    }

    /// Records that a server redirects the slot to another one (`MOVED`).
    pub(crate) fn moved(&self, slot: u16, place: &ServerAddress) -> Result<Node, Failure> {
        self.node(place, Some(slot))
    }

    /// Returns the server that a slot is being moved to (`ASK`).
    pub(crate) fn moving(&self, place: &ServerAddress) -> Result<Node, Failure> {
        self.node(place, None)
    }

    fn node(&self, place: &ServerAddress, owns: Option<u16>) -> Result<Node, Failure> {
        let mut node = Err(CROWDED);
        self.state.send_if_modified(|state| {
            state.is_stale |= owns.is_some();
            if let Some(map) = &mut state.map {
                let place = self.configured(place);
                node = map.give(owns, place, || self.link(place)).map_err(|_| CROWDED);
            }
            false
        });
        node
    }

    /// Returns the configured form of an address, if it is configured.
    fn configured<'a>(&'a self, place: &'a ServerAddress) -> &'a ServerAddress {
        self.seeds.iter().find(|seed| *seed == place).unwrap_or(place)
    }

    fn link(&self, place: &ServerAddress) -> Arc<Link> {
        let target = Target::Fixed(place.clone());
        Link::new(target, Arc::clone(&self.access), Arc::clone(&self.outage))
    }

    /// Asks the known servers one after the other for the map. The address of one that is gone may belong to
    /// another cluster by now: such an answer counts only if no server answers for the known cluster, and if
    /// the address is a configured one, as at the start.
    async fn ask(&self, foreign: &mut Option<Answer>) -> Result<Answer, Failure> {
        let mut login = self.access.ready().await?;
        let (mut places, round) = (self.places(), self.state.borrow().round);
        let start = round.checked_rem(places.len()).unwrap_or_default();
        places.rotate_left(start);
        let mut last = Failure::ENDED;
        for place in &places {
            let asked = |login| self.ask_at(place, login);
            match self.access.attempt(&mut login, PER_NODE, asked).await {
                Ok(answer) if self.is_own(&answer) => return Ok(answer),
                Ok(answer) => {
                    last = FOREIGN;
                    if self.seeds.contains(place) {
                        foreign.get_or_insert(answer);
                    }
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Returns all servers that may be asked: those of the map, and the configured ones.
    fn places(&self) -> Vec<ServerAddress> {
        let state = self.state.borrow();
        let nodes = state.map.iter().flat_map(|map| &map.nodes);
        let mut places: Vec<_> = nodes.map(|node| node.place.clone()).collect();
        for seed in &self.seeds {
            if !places.contains(seed) {
                places.push(seed.clone());
            }
        }
        places
    }

    /// Returns `true` if each of them was the first to be asked since one answered: an attempt may end
    /// before it comes to the last.
    fn each_was_first(&self) -> bool {
        let failures = usize::try_from(self.state.borrow().failures).unwrap_or(usize::MAX);
        failures >= self.places().len()
    }

    fn is_own(&self, answer: &Answer) -> bool {
        self.state.borrow().map.as_ref().is_none_or(|map| map.is_of(&answer.ids))
    }

    async fn ask_at(&self, place: &ServerAddress, login: Login) -> Result<Answer, Failure> {
        let mut connection = self.access.connect(place, &login, MAX_ANSWER).await?;
        let mut command = cmd("CLUSTER");
        let answer: Value = command
            .arg("SLOTS")
            .query_async(&mut connection.requests)
            .await
            .map_err(|error| Failure::of(&error))?;
        read(&answer, place).ok_or(UNREADABLE)
    }

    /// Takes the answer to the question that began then, if it is awaited still.
    fn settle(&self, question: Option<Instant>, answer: Result<Answer, Failure>) {
        self.state.send_if_modified(|state| {
            if state.asking != question {
                return false;
            }
            state.asking = None;
            state.round = state.round.wrapping_add(1);
            let pause = match answer.and_then(|answer| self.map(answer, state.map.as_ref())) {
                Ok(map) => {
                    state.map = Some(map);
                    state.is_stale = false;
                    state.failures = 0;
                    state.share = None;
                    REST
                }
                Err(failure) => {
                    let pause = doubled(FIRST_PAUSE, state.failures, LONGEST_PAUSE);
                    state.failures = state.failures.saturating_add(1);
                    state.reason = failure;
                    // With a map, the links of the servers report their failures themselves.
                    if state.map.is_none() {
                        state.share.get_or_insert_with(|| self.outage.join(failure));
                    }
                    pause
                }
            };
            state.due = monotonic().checked_add(pause).unwrap_or_else(monotonic);
            true
        });
    }

    /// Makes a new map, in which the servers of the old one keep their connections.
    fn map(&self, answer: Answer, before: Option<&Map>) -> Result<Map, Failure> {
        let before = before.filter(|map| map.is_of(&answer.ids));
        let mut map = Map::new(answer.ids);
        for Range { first, last, place } in answer.ranges {
            let place = self.configured(&place);
            let known = || before?.nodes.iter().find(|node| node.place == *place);
            let link = || known().map_or_else(|| self.link(place), |node| Arc::clone(&node.link));
            map.give(first..=last, place, link).map_err(|_| CROWDED)?;
        }
        if let Some(before) = before {
            map.fill(before).map_err(|_| CROWDED)?;
        }
        Ok(map)
    }
}

/// A request for the map. However it ends, the cluster is notified.
struct Question {
    cluster: Arc<Cluster>,
    since: Instant,
    ended: bool,
}

impl Question {
    async fn run(mut self) {
        let mut foreign = None;
        let asked = timeout(CONNECT, self.cluster.ask(&mut foreign)).await;
        let were_all_asked = asked.is_ok() || self.cluster.each_was_first();
        let foreign = foreign.filter(|_| were_all_asked);
        let answer = asked.unwrap_or(Err(Failure::SILENT));
        self.ended = true;
        self.cluster.settle(Some(self.since), answer.or_else(|failure| foreign.ok_or(failure)));
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.ended {
            self.cluster.settle(Some(self.since), Err(Failure::ENDED));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::runtime::Builder;
    use tokio_test::task;

    use super::*;
    use crate::redis_link::address::Address;
    use crate::redis_link::outage::User;
    use crate::redis_link::request::keys_for_each;
    use crate::redis_link::servers::Servers;
    use crate::redis_link::slots::slot_of;

    fn cluster() -> Arc<Cluster> {
        let Address { place, login, .. } = Address::parse("redis://seed:1", 1).unwrap();
        let access = Access { tls: None, login, user: None };
        Cluster::new(vec![place], Arc::new(access), Outage::new(User::TokenCache))
    }

    fn answer(ids: &[&str], ranges: &[(u16, u16, &str)]) -> Answer {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let here = ServerAddress::configured("here", 1);
        let range = |&(first, last, place): &(u16, u16, &str)| Range {
            first,
            last,
            place: here.read(place).unwrap(),
        };
        Answer { ranges: ranges.iter().map(range).collect(), ids }
    }

    fn owner(cluster: &Cluster, slot: u16) -> Option<String> {
        let state = cluster.state.borrow();
        Some(format!("{:?}", state.map.as_ref()?.owner(slot)?.place))
    }

    #[test]
    fn slots_that_an_answer_leaves_out_stay_with_those_who_had_them() {
        let cluster = cluster();
        cluster.settle(None, Ok(answer(&["1", "2"], &[(0, 99, "a:1"), (100, 199, "b:1")])));
        cluster.settle(None, Ok(answer(&["1", "2"], &[(0, 120, "c:1")])));
        let found = [0, 120, 121, 199, 200].map(|slot| owner(&cluster, slot));
        let expected = [Some("c:1"), Some("c:1"), Some("b:1"), Some("b:1"), None];
        assert_eq!(found, expected.map(|place| place.map(str::to_owned)));
        // The other cluster is unknown.
        cluster.settle(None, Ok(answer(&["3"], &[(0, 9, "d:1")])));
        assert_eq!([0, 199].map(|slot| owner(&cluster, slot)), [Some("d:1".to_owned()), None]);
    }

    #[test]
    fn an_answer_for_another_cluster_is_told_apart() {
        let cluster = cluster();
        let is_own = |ids: &[&str]| cluster.is_own(&answer(ids, &[]));
        assert!(is_own(&["1"]) && is_own(&[]), "nothing is known yet");
        cluster.settle(None, Ok(answer(&[], &[(0, 9, "a:1")])));
        assert!(is_own(&["1"]) && is_own(&[]), "they have no names");
        cluster.settle(None, Ok(answer(&["1", "2"], &[(0, 9, "a:1")])));
        assert!(is_own(&["1"]) && is_own(&["2", "3"]), "servers come and go");
        assert!(!is_own(&["3"]) && !is_own(&[]));
    }

    /// Answers each command on the first connection with `+OK`, and returns its own port.
    async fn agreeing() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                let commands = buffer.iter().take(read).filter(|byte| **byte == b'*').count();
                stream.write_all("+OK\r\n".repeat(commands).as_bytes()).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn a_check_does_not_look_for_a_server_that_lost_its_slots_meanwhile() {
        let (cluster, port) = (cluster(), agreeing().await);
        let first = format!("127.0.0.1:{port}");
        cluster.settle(None, Ok(answer(&["1"], &[(0, 9, "b:1"), (10, 16_383, &first)])));
        let (servers, tried) = (Servers::Cluster(Arc::clone(&cluster)), Cell::new(0));
        let key = || {
            tried.set(tried.get() + 1);
            if tried.get() == 5 {
                cluster.settle(None, Ok(answer(&["1"], &[(0, 16_383, &first)])));
            }
            (0..).map(|number: u32| number.to_string()).find(|key| slot_of(key) > 9)
        };
        let keys = keys_for_each(&servers, "", CONNECT, key).await.unwrap();
        assert_eq!(keys.len(), 1);
        assert!((5..5_000).contains(&tried.get()), "{} keys", tried.get());
    }

    #[test]
    fn a_question_on_a_runtime_that_is_kept_and_not_run_is_passed_over() {
        let Address { place, login, .. } = Address::parse("redis://127.0.0.1:1", 1).unwrap();
        let access = Access { tls: None, login, user: None };
        let cluster = Cluster::new(vec![place], Arc::new(access), Outage::new(User::TokenCache));
        let runtime = || Builder::new_current_thread().enable_all().start_paused(true).build();
        let (kept, other) = (runtime().unwrap(), runtime().unwrap());
        kept.block_on(async {
            assert!(task::spawn(cluster.owner(1)).poll().is_pending());
        });
        other.block_on(async {
            let mut waits = task::spawn(cluster.owner(1));
            assert!(waits.poll().is_pending());
            tokio::time::advance(CONNECT).await;
            assert!(waits.poll().is_pending());
            tokio::time::advance(LONGEST_ATTEMPT).await;
            assert!(cluster.owner(1).await.is_err());
            assert!(waits.await.is_err());
        });
        let failures = || cluster.state.borrow().failures;
        assert_eq!(failures(), 1);
        drop(kept);
        assert_eq!(failures(), 1, "it isn't awaited any more");
    }
}
