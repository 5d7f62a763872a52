//! Reads small files that are swapped while the process runs, such as mounted secrets.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::turns::Turns;

/// The most bytes a file may have.
const MAX_BYTES: u64 = 64 * 1024;

const TOO_LARGE: &str = "the file is larger than 64 KiB";

/// How long reading may take: the file may be on a network that is down.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The path of a small file, which is read again each time, off the threads that serve requests.
#[derive(Clone)]
pub(crate) struct SmallFile {
    path: Arc<Path>,
    /// Taken by the thread that reads: a file system that hangs takes one, not one for each request.
    reading: Arc<Turns>,
    /// Held by a test for as long as the file system hangs.
    #[cfg(test)]
    pub(crate) disk: Arc<std::sync::Mutex<()>>,
}

/// Why a file couldn't be read, without its path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileFault {
    #[error("the file can't be read")]
    Io(#[source] io::Error),
    #[error("{0}")]
    Malformed(&'static str),
    #[error("the file wasn't read within 4 seconds")]
    Slow,
    #[error("the file wasn't read to its end")]
    Aborted,
}

impl SmallFile {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into().into(),
            reading: Arc::default(),
            #[cfg(test)]
            disk: Arc::default(),
        }
    }

    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file like [`read`](Self::read), and blocks for as long as it takes.
    pub(crate) fn read_blocking(&self) -> Result<Zeroizing<Vec<u8>>, FileFault> {
        #[cfg(test)]
        let _answers = self.disk.lock();
        read(&self.path)
    }

    /// Reads the whole file, which is neither empty nor larger than 64 KiB.
    pub(crate) async fn read(&self) -> Result<Zeroizing<Vec<u8>>, FileFault> {
        let read = async {
            // However long it takes, another would hang as well.
            let reading = self.reading.take(None).await;
            let file = self.clone();
            let read = tokio::task::spawn_blocking(move || {
                let _reading = reading;
                file.read_blocking()
            });
            read.await.unwrap_or(Err(FileFault::Aborted))
        };
        tokio::time::timeout(TIMEOUT, read).await.unwrap_or(Err(FileFault::Slow))
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    // Opening a pipe would wait for its writer, and a device may have no end.
    let about = fs::metadata(path).map_err(FileFault::Io)?;
    if !about.is_file() {
        return Err(FileFault::Malformed("it isn't a regular file"));
    }
    if about.len() > MAX_BYTES {
        return Err(FileFault::Malformed(TOO_LARGE));
    }
    let limit = MAX_BYTES.saturating_add(1);
    // Room for all there may be: a buffer that grew would leave copies behind.
    let capacity = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    let file = File::open(path).map_err(FileFault::Io)?;
    file.take(limit).read_to_end(&mut bytes).map_err(FileFault::Io)?;
    if bytes.is_empty() {
        return Err(FileFault::Malformed("the file is empty"));
    }
    if bytes.len() >= capacity {
        return Err(FileFault::Malformed(TOO_LARGE));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, Runtime};
    use tokio_test::task;

    use super::*;

    /// A runtime with so many threads that may block.
    fn runtime(threads: usize) -> Runtime {
        let mut runtime = Builder::new_current_thread();
        runtime.enable_time().start_paused(true).max_blocking_threads(threads).build().unwrap()
    }

    #[test]
    fn a_file_system_that_hangs_is_given_up_on_and_takes_one_thread() {
        let file = SmallFile::new(file!());
        let runtime = runtime(2);
        let hangs = file.disk.lock().unwrap();
        runtime.block_on(async {
            for _ in 0..3 {
                // A paused clock stands still by itself while a thread blocks.
                let (read, ()) = tokio::join!(file.read(), tokio::time::advance(TIMEOUT));
                assert!(matches!(read, Err(FileFault::Slow)));
            }
            // The other thread is free.
            tokio::task::spawn_blocking(|| {}).await.unwrap();
        });
        drop(hangs);
        let whole = runtime.block_on(file.read()).unwrap();
        assert!(whole.starts_with(b"//! Reads small files"));
    }

    #[test]
    fn who_waits_and_is_no_longer_polled_holds_up_nobody() {
        let file = SmallFile::new(file!());
        let (kept, other) = (runtime(1), runtime(1));
        let hangs = file.disk.lock().unwrap();
        let (mut reads, mut waits) = (task::spawn(file.read()), task::spawn(file.read()));
        kept.block_on(async {
            assert!(reads.poll().is_pending());
            assert!(waits.poll().is_pending());
        });
        drop(hangs);
        // Until the thread has come to its end.
        drop(kept.block_on(file.reading.take(None)));
        assert!(other.block_on(file.read()).is_ok());
    }
}
