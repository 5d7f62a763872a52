//! What is logged in a test binary, kept to be searched.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;
pub(crate) use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged, line by line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Starts to keep all that is logged from now on, by whatever thread. A process can do so once.
    pub(crate) fn start() -> Self {
        let log = Self::default();
        log.subscriber(LevelFilter::TRACE).init();
        log
    }

    /// Starts to keep what this thread logs at this level and above, as long as the guard lives.
    pub(crate) fn of_this_thread(level: LevelFilter) -> (Self, DefaultGuard) {
        let log = Self::default();
        let guard = log.subscriber(level).set_default();
        (log, guard)
    }

    fn subscriber(&self, level: LevelFilter) -> impl SubscriberInitExt + use<> {
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish()
    }

    /// Forgets what was logged so far.
    pub(crate) fn clear(&self) {
        self.take();
    }

    /// Returns what was logged so far, and forgets it.
    pub(crate) fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no test panics while it logs"));
        String::from_utf8(bytes).expect("logs are text")
    }

    /// Returns what was logged.
    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().expect("no test panics while it logs").clone();
        String::from_utf8(bytes).expect("logs are text")
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics while it logs").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
