//! What is logged in a test binary, kept to be searched.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// All that the program logs, at the finest level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Starts to keep what is logged from now on, by whatever thread. A process can do so once.
    pub(crate) fn start() -> Self {
        let log = Self::default();
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish()
            .init();
        log
    }

    /// Forgets what was logged so far.
    pub(crate) fn clear(&self) {
        self.0.lock().expect("no test panics while it logs").clear();
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
