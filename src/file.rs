//! Reads small files that are swapped while the process runs, such as mounted secrets.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// The most bytes a file may have.
const MAX_BYTES: u64 = 64 * 1024;

const TOO_LARGE: &str = "the file is larger than 64 KiB";

/// How long reading may take: the file may be on a network that is down.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The path of a small file, which is read anew each time, off the threads that serve requests.
#[derive(Clone)]
pub(crate) struct SmallFile {
    path: Arc<Path>,
    /// Held by the reader: a file system that hangs takes one thread, not one for each request.
    reading: Arc<Mutex<()>>,
}

/// The reason why a file brought nothing, without its path.
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
        Self { path: path.into().into(), reading: Arc::default() }
    }

    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file, which is neither empty nor larger than 64 KiB.
    pub(crate) async fn read(&self) -> Result<Zeroizing<Vec<u8>>, FileFault> {
        let read = async {
            let reading = Arc::clone(&self.reading).lock_owned().await;
            let path = Arc::clone(&self.path);
            let read = tokio::task::spawn_blocking(move || {
                let _reading = reading;
                read(&path)
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_system_that_hangs_is_given_up_on_and_takes_one_thread() {
        let file = SmallFile::new(file!());
        let hanging = Arc::clone(&file.reading).lock_owned().await;
        for _ in 0..3 {
            assert!(matches!(file.read().await, Err(FileFault::Slow)));
        }
        drop(hanging);
        let whole = file.read().await.unwrap();
        assert!(whole.starts_with(b"//! Reads small files"));
    }
}
