//! The client's secret in a file, such as a mounted one.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::credentials::provider::{SecretError, SecretErrorKind, SecretFuture, SecretProvider};
use crate::file::{FileFault, SmallFile};
use crate::secret::Secret;

/// A secret in a file, such as a mounted one of Kubernetes, Docker or systemd.
///
/// The file is read each time the secret is requested, on a thread for blocking work, so
/// that a change is seen however it was made: by a new file moved over the old one, by a symbolic
/// link that leads elsewhere (as Kubernetes does it), or by writing into the file. Nothing is cached
/// here: a [`SecretSource`](crate::client::SecretSource) made from it keeps the secret for
/// a while, asks again when a server refuses it, and continues to use it while the file is missing or
/// empty.
///
/// A byte order mark and one line end are removed, as by a [`SecretSource`](crate::client::SecretSource) from
/// every secret.
///
/// # Errors
///
/// [`SecretProvider::secret`] fails with
///
/// * [`NotFound`](SecretErrorKind::NotFound) if there is no file at the path;
/// * [`Malformed`](SecretErrorKind::Malformed) if it is empty, larger than 64 KiB, or not a regular
///   file;
/// * [`Unavailable`](SecretErrorKind::Unavailable) if it can't be read within 4 seconds, or at all;
/// * [`Other`](SecretErrorKind::Other) if it may not be read.
///
/// # Examples
///
/// ```
/// use tower_bearer::client::FileSecret;
///
/// let secret = FileSecret::new("/run/secrets/oauth-client");
/// ```
#[derive(Clone)]
pub struct FileSecret(SmallFile);

impl FileSecret {
    /// Creates a provider of the secret in the file at this path, which needn't exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(SmallFile::new(path))
    }
}

impl SecretProvider for FileSecret {
    fn secret(&self) -> SecretFuture<'_> {
        Box::pin(async { self.0.read().await.map(|read| Secret::new(&**read)).map_err(failure) })
    }
}

impl fmt::Debug for FileSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSecret").field("path", &self.0.path()).finish_non_exhaustive()
    }
}

fn failure(fault: FileFault) -> SecretError {
    match fault {
        FileFault::Malformed(reason) => SecretError::malformed(reason),
        FileFault::Slow => SecretError::new(SecretErrorKind::Unavailable).with_source(fault),
        FileFault::Aborted => SecretError::new(SecretErrorKind::Other),
        FileFault::Io(error) => {
            let kind = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SecretErrorKind::NotFound,
                io::ErrorKind::PermissionDenied => SecretErrorKind::Other,
                _ => SecretErrorKind::Unavailable,
            };
            SecretError::new(kind).with_source(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(4);

    /// A folder that is removed with all that is in it.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("tower-bearer-file-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn secret(&self, name: &str) -> FileSecret {
            FileSecret::new(self.path(name))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone_already = fs::remove_dir_all(&self.0);
        }
    }

    async fn read(secret: &FileSecret) -> Vec<u8> {
        secret.secret().await.unwrap().expose().to_vec()
    }

    async fn failure(secret: &FileSecret) -> SecretErrorKind {
        secret.secret().await.unwrap_err().kind()
    }

    // FC13: what is cut is cut by the source, as for every other provider.
    #[tokio::test]
    async fn fc13_one_newline_at_the_end_is_not_part_of_the_secret() {
        use crate::credentials::source::SecretSource;
        let folder = Folder::new();
        let source = SecretSource::from(folder.secret("secret")).max_age(Duration::ZERO);
        let cases: [(&[u8], &[u8]); 8] = [
            (b"p%:+/ &=s", b"p%:+/ &=s"),
            (b"secret\n", b"secret"),
            (b"secret\r\n", b"secret"),
            (b"secret\n\n", b"secret\n"),
            (b"secret\r", b"secret\r"),
            (b" secret \t", b" secret \t"),
            (b"\xef\xbb\xbfsecret\n", b"secret"),
            (b"\xff\x00\xfe", b"\xff\x00\xfe"),
        ];
        for (written, expected) in cases {
            fs::write(folder.path("secret"), written).unwrap();
            assert_eq!(source.current(TIMEOUT).await.unwrap().expose(), expected);
        }
    }

    #[tokio::test]
    async fn a_change_is_seen_at_once_however_it_is_made() {
        let folder = Folder::new();
        let secret = folder.secret("secret");
        fs::write(folder.path("secret"), "one").unwrap();
        assert_eq!(read(&secret).await, b"one");
        // Written over within the same tick of the clock, with the same length.
        for n in b'a'..=b'z' {
            fs::write(folder.path("secret"), [b'0', n]).unwrap();
            assert_eq!(read(&secret).await, [b'0', n]);
        }
        // Another file takes its place.
        fs::write(folder.path("new"), "two").unwrap();
        fs::rename(folder.path("new"), folder.path("secret")).unwrap();
        assert_eq!(read(&secret).await, b"two");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_way_kubernetes_changes_a_mounted_secret_is_seen() {
        use std::os::unix::fs::symlink;
        // secret → ..data/secret, ..data → ..1, which is swapped for ..2 in one step.
        let folder = Folder::new();
        for (version, value) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(folder.path(version)).unwrap();
            fs::write(folder.path(version).join("secret"), value).unwrap();
        }
        symlink("..1", folder.path("..data")).unwrap();
        symlink("..data/secret", folder.path("secret")).unwrap();
        let secret = folder.secret("secret");
        assert_eq!(read(&secret).await, b"one");

        symlink("..2", folder.path("..data_tmp")).unwrap();
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
        fs::remove_dir_all(folder.path("..1")).unwrap();
        assert_eq!(read(&secret).await, b"two");
    }

    #[tokio::test]
    async fn what_is_missing_or_empty_is_an_error_until_it_is_there() {
        let folder = Folder::new();
        let secret = folder.secret("secret");
        assert_eq!(failure(&secret).await, SecretErrorKind::NotFound);
        fs::write(folder.path("secret"), "").unwrap();
        assert_eq!(failure(&secret).await, SecretErrorKind::Malformed);
        assert_eq!(failure(&folder.secret("secret/below")).await, SecretErrorKind::NotFound);
        fs::write(folder.path("secret"), "there").unwrap();
        assert_eq!(read(&secret).await, b"there");
        fs::remove_file(folder.path("secret")).unwrap();
        assert_eq!(failure(&secret).await, SecretErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_file_has_a_size_that_it_may_not_exceed() {
        let folder = Folder::new();
        let secret = folder.secret("secret");
        fs::write(folder.path("secret"), vec![b'x'; 65_536]).unwrap();
        assert_eq!(read(&secret).await.len(), 65_536);
        fs::write(folder.path("secret"), vec![b'x'; 65_537]).unwrap();
        assert_eq!(failure(&secret).await, SecretErrorKind::Malformed);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_no_file_is_not_opened() {
        let folder = Folder::new();
        assert_eq!(failure(&FileSecret::new(&folder.0)).await, SecretErrorKind::Malformed);
        assert_eq!(failure(&FileSecret::new("/dev/zero")).await, SecretErrorKind::Malformed);
        let pipe = folder.path("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(failure(&FileSecret::new(pipe)).await, SecretErrorKind::Malformed);
    }

    // L1
    #[tokio::test]
    async fn l1_neither_the_provider_nor_its_errors_show_a_secret() {
        let folder = Folder::new();
        let secret = folder.secret("secret");
        fs::write(folder.path("secret"), "canary").unwrap();
        let read = secret.secret().await;
        let shown = format!("{secret:?} {read:?}");
        assert!(shown.contains("FileSecret") && !shown.contains("canary"), "{shown}");
    }
}
