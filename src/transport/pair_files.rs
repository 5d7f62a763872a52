//! A certificate chain and its private key, in two files that may be replaced while the process runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use crate::clock::monotonic;
use crate::file::{FileFault, SmallFile};
use crate::telemetry::event;
use crate::turns::{Turn, Turns};

/// The least time between two reads of the files.
pub(crate) const REST: Duration = Duration::from_secs(1);

/// The time after which files that are still being read count as unusable: they may be on a network that is
/// down.
const SLOW: Duration = Duration::from_secs(4);

/// What is built from the pair in two files. Both files are checked before each use; while they don't hold a pair,
/// such as while one of them is written, the previous pair stays in use.
pub(crate) struct PairFiles<T> {
    chain: SmallFile,
    key: SmallFile,
    make: Box<Make<T>>,
    state: Mutex<State<T>>,
    /// Held by the task that reads: files that hang block one thread, not one for each exchange.
    looking: Arc<Turns>,
}

/// Builds it from the key and the chain in one PEM.
type Make<T> = dyn Fn(&[u8]) -> Result<T, Unfit> + Send + Sync;

/// Why the PEM can't be used.
type Unfit = Box<dyn std::error::Error + Send + Sync>;

struct State<T> {
    made: T,
    /// The contents of the files when they were last used.
    pem: Zeroizing<Vec<u8>>,
    /// A number that grows with each new pair.
    version: u64,
    looked: Instant,
    /// Whether the files can't be used at present, which was logged.
    is_unusable: bool,
}

/// Why the files can't be used at the start.
pub(crate) enum PairFault {
    Chain(FileFault),
    Key(FileFault),
    Unfit(
        #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only Redis names it"))] Unfit,
    ),
}

#[cfg(feature = "redis")]
impl PairFault {
    pub(crate) fn into_cause(self) -> Unfit {
        match self {
            Self::Chain(fault) | Self::Key(fault) => fault.into(),
            Self::Unfit(fault) => fault,
        }
    }
}

impl<T: Clone + Send + 'static> PairFiles<T> {
    /// Reads the files, which blocks.
    pub(crate) fn open(
        chain: SmallFile,
        key: SmallFile,
        make: impl Fn(&[u8]) -> Result<T, Unfit> + Send + Sync + 'static,
    ) -> Result<Self, PairFault> {
        let pem = joined(
            &chain.read_blocking().map_err(PairFault::Chain)?,
            &key.read_blocking().map_err(PairFault::Key)?,
        );
        let made = make(&pem).map_err(PairFault::Unfit)?;
        let looked = monotonic();
        let state = State { made, pem, version: 1, looked, is_unusable: false };
        let (make, state) = (Box::new(make), Mutex::new(state));
        Ok(Self { chain, key, make, state, looking: Arc::default() })
    }

    /// Returns what was built from the pair that is in use.
    pub(crate) fn current(&self) -> T {
        self.lock().made.clone()
    }

    /// Returns the version of the pair that is in use.
    #[cfg(any(feature = "reqwest", test))]
    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Checks whether the files hold another pair, and uses that from now on. `swap` replaces what was built with
    /// the old pair, before the version changes.
    ///
    /// A read that takes longer than `patience` continues in the background; until it ends, all callers use the
    /// old pair.
    pub(crate) async fn renew(
        self: &Arc<Self>,
        patience: Duration,
        swap: impl FnOnce() + Send + 'static,
    ) {
        let Some(looking) = self.turn() else { return };
        let this = Arc::clone(self);
        let look = tokio::task::spawn_blocking(move || {
            let _looking = looking;
            this.look(swap);
        });
        let _patience_ends = timeout(patience.min(SLOW), look).await;
    }

    /// Returns the turn to read, if that is due and no read is under way.
    fn turn(&self) -> Option<Turn> {
        // The state is locked first, so that a task that starts a read updates `looked` before another checks it.
        let mut state = self.lock();
        let looking = self.looking.begin(None);
        let now = monotonic();
        let rested = now.saturating_duration_since(state.looked);
        // While one task reads, the others continue with the current pair.
        if looking.is_err() && rested >= SLOW {
            state.cannot_use("they aren't read within 4 seconds");
        }
        let looking = looking.ok().filter(|_| rested >= REST)?;
        state.looked = now;
        Some(looking)
    }

    /// Reads the files, which blocks, and uses what they hold.
    fn look(&self, swap: impl FnOnce()) {
        let found = self.read();
        let mut state = self.lock();
        match found {
            Found::Same => state.is_unusable = false,
            Found::Unusable(why) => state.cannot_use(why),
            Found::Other(pem, made) => {
                state.made = made;
                state.pem = pem;
                state.version = state.version.saturating_add(1);
                state.is_unusable = false;
                swap();
                event!(INFO, "transport_certificate: another client certificate is in use");
            }
        }
    }

    fn read(&self) -> Found<T> {
        let (Ok(chain), Ok(key)) = (self.chain.read_blocking(), self.key.read_blocking()) else {
            return Found::Unusable("a file can't be read");
        };
        let pem = joined(&chain, &key);
        if *pem == *self.lock().pem {
            return Found::Same;
        }
        match (self.make)(&pem) {
            Ok(made) => Found::Other(pem, made),
            Err(_) => Found::Unusable("they don't hold a certificate and its private key"),
        }
    }

    /// Returns what hangs the disk of the chain while it is held.
    #[cfg(all(test, feature = "aws-lc-rs"))]
    pub(crate) fn disk(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.chain.disk)
    }

    /// Returns once nobody looks.
    #[cfg(test)]
    pub(crate) async fn looked(&self) {
        drop(self.looking.take(None).await);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Says so once.
    fn cannot_use(&mut self, _why: &'static str) {
        if !std::mem::replace(&mut self.is_unusable, true) {
            event!(
                WARN,
                reason = _why,
                "transport_certificate: the client certificate's files can't be used; using the one \
                 before"
            );
        }
    }
}

/// What is in the files.
enum Found<T> {
    Same,
    Other(Zeroizing<Vec<u8>>, T),
    Unusable(&'static str),
}

/// Puts a private key and its certificate chain into one PEM.
fn joined(chain: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = chain.len().saturating_add(key.len()).saturating_add(1);
    // Room for all: a buffer that grew would leave copies behind.
    let mut pem = Zeroizing::new(Vec::with_capacity(length));
    pem.extend_from_slice(key);
    pem.push(b'\n');
    pem.extend_from_slice(chain);
    pem
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A folder with a chain and a key, which are a pair if they are the same.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("tower-bearer-pair-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, chain: &str, key: &str) {
            fs::write(self.0.join("tls.crt"), chain).unwrap();
            fs::write(self.0.join("tls.key"), key).unwrap();
        }

        fn open(&self) -> Result<Arc<PairFiles<Vec<u8>>>, PairFault> {
            let file = |name| SmallFile::new(self.0.join(name));
            let make = |pem: &[u8]| {
                let mut parts = pem.split(|byte| *byte == b'\n');
                if parts.next() == parts.next() { Ok(pem.to_vec()) } else { Err("no pair".into()) }
            };
            PairFiles::open(file("tls.crt"), file("tls.key"), make).map(Arc::new)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone_already = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn without_a_pair_it_is_said_what_is_wrong() {
        let folder = Folder::new("none");
        assert!(matches!(folder.open(), Err(PairFault::Chain(_))));
        folder.write("one", "other");
        assert!(matches!(folder.open(), Err(PairFault::Unfit(_))));
        fs::remove_file(folder.0.join("tls.key")).unwrap();
        assert!(matches!(folder.open(), Err(PairFault::Key(_))));
        folder.write("one", "one");
        assert_eq!(folder.open().ok().unwrap().current(), b"one\none");
    }

    #[allow(clippy::await_holding_lock, reason = "that is how the disk hangs, for another thread")]
    #[tokio::test(start_paused = true)]
    async fn mt32_files_that_hang_hold_up_one_caller_and_are_used_once_they_answer() {
        let patience = Duration::from_secs(1);
        for (name, hanging) in [("hang-chain", true), ("hang-key", false)] {
            let folder = Folder::new(name);
            folder.write("one", "one");
            let files = folder.open().ok().unwrap();
            folder.write("two", "two");
            tokio::time::advance(REST).await;
            let disk = Arc::clone(if hanging { &files.chain.disk } else { &files.key.disk });
            let hangs = disk.lock().unwrap();
            let swaps = Arc::<Mutex<u8>>::default();
            let swap = Arc::clone(&swaps);
            let look = files.renew(patience, move || *swap.lock().unwrap() += 1);
            let ((), ()) = tokio::join!(look, tokio::time::advance(patience));
            // Nobody waits again, however long that lasts, or the paused clock would stand still.
            for _ in 0..3 {
                assert!(!files.lock().is_unusable);
                tokio::time::advance(REST).await;
                files.renew(SLOW, || {}).await;
            }
            assert!(files.lock().is_unusable, "which is said");
            assert_eq!((files.version(), *swaps.lock().unwrap()), (1, 0));
            drop(hangs);
            // What the look found once the files answered isn't lost, though nobody waited for it.
            files.looked().await;
            assert_eq!((files.version(), *swaps.lock().unwrap()), (2, 1));
            assert!(!files.lock().is_unusable && files.current() == b"two\ntwo");
            // And there are further looks.
            for (chain, version) in [("two", 2), ("three", 3)] {
                folder.write(chain, chain);
                tokio::time::advance(REST).await;
                files.renew(SLOW, || {}).await;
                assert_eq!(files.version(), version);
            }
        }
    }
}
