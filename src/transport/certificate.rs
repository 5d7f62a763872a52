//! A client certificate in files that may be replaced while the process runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use reqwest::{Client, Identity};

use crate::error::ConfigError;
use crate::file::SmallFile;
use crate::transport::pair_files::{PairFault, PairFiles};

/// A certificate chain and its private key, as `reqwest` presents them.
pub(crate) type CertificateFiles = PairFiles<Identity>;

/// Reads the files, which blocks.
pub(crate) fn open(
    chain: impl Into<PathBuf>,
    key: impl Into<PathBuf>,
) -> Result<CertificateFiles, ConfigError> {
    let (chain, key) = (SmallFile::new(chain), SmallFile::new(key));
    let make = |pem: &[u8]| identity(pem).ok_or_else(|| "the certificate or its key".into());
    CertificateFiles::open(chain, key, make).map_err(|fault| match fault {
        PairFault::Chain(fault) => {
            ConfigError::new("the client certificate's file can't be read").because(fault)
        }
        PairFault::Key(fault) => {
            ConfigError::new("the client certificate's private key can't be read").because(fault)
        }
        PairFault::Unfit(_) => ConfigError::new(
            "the client certificate can't be used: give files with the certificate chain and \
             with its unencrypted private key, both as PEM",
        ),
    })
}

/// Returns the pair, if the key belongs to the certificate, which only building a client shows.
fn identity(pem: &[u8]) -> Option<Identity> {
    let identity = Identity::from_pem(pem).ok()?;
    let trial = identity.clone();
    let build = move || Client::builder().no_proxy().tls_certs_only([]).identity(trial).build();
    // Without a TLS provider, `reqwest` panics.
    catch_unwind(AssertUnwindSafe(build)).ok()?.ok()?;
    Some(identity)
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::transport::pair_files::REST;

    const PATIENCE: Duration = Duration::from_secs(4);

    /// A pair in PEM.
    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["client.example".into()]).unwrap();
        (certificate.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("tower-bearer-certificate-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, (chain, key): &(String, String)) {
            fs::write(self.0.join("tls.crt"), chain).unwrap();
            fs::write(self.0.join("tls.key"), key).unwrap();
        }

        fn open(&self) -> Result<Arc<CertificateFiles>, ConfigError> {
            open(self.0.join("tls.crt"), self.0.join("tls.key")).map(Arc::new)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone_already = fs::remove_dir_all(&self.0);
        }
    }

    /// Returns `true` if there is another pair.
    async fn look(files: &Arc<CertificateFiles>) -> bool {
        let before = files.version();
        files.renew(PATIENCE, || {}).await;
        files.version() != before
    }

    async fn renewed(files: &Arc<CertificateFiles>) -> bool {
        tokio::time::advance(REST).await;
        look(files).await
    }

    #[tokio::test(start_paused = true)]
    async fn mt32_a_pair_that_is_written_over_is_used() {
        let folder = Folder::new("over");
        folder.write(&pair());
        let files = folder.open().unwrap();
        assert!(!renewed(&files).await);
        folder.write(&pair());
        assert!(!look(&files).await, "not more often than once a second");
        assert!(renewed(&files).await);
        assert!(!renewed(&files).await);
        assert_eq!(files.version(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn mt32_a_half_written_pair_leaves_the_last_good_one_in_use() {
        let (one, other) = (pair(), pair());
        let folder = Folder::new("half");
        folder.write(&one);
        let files = folder.open().unwrap();
        let halves = [
            (other.0.clone(), one.1.clone()),
            (one.0.clone(), other.1.clone()),
            (other.0[..other.0.len() / 2].to_owned(), other.1.clone()),
            (other.0.clone(), String::new()),
            (String::new(), other.1.clone()),
            ("\u{0}\u{ff}".into(), other.1.clone()),
            (other.1.clone(), other.1.clone()),
        ];
        for half in halves {
            folder.write(&half);
            assert!(!renewed(&files).await, "{half:?}");
            assert_eq!(files.version(), 1);
        }
        fs::remove_file(folder.0.join("tls.key")).unwrap();
        assert!(!renewed(&files).await);
        // The same pair isn't a new one, and another complete pair is.
        folder.write(&one);
        assert!(!renewed(&files).await);
        folder.write(&other);
        assert!(renewed(&files).await);
        assert_eq!(files.version(), 2);
    }

    // As Kubernetes does it: tls.crt → ..data/tls.crt, and ..data leads elsewhere in one step.
    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn mt32_a_symbolic_link_that_leads_elsewhere_is_followed() {
        use std::os::unix::fs::symlink;
        let folder = Folder::new("link");
        for version in ["..1", "..2"] {
            fs::create_dir(folder.0.join(version)).unwrap();
            let (chain, key) = pair();
            fs::write(folder.0.join(version).join("tls.crt"), chain).unwrap();
            fs::write(folder.0.join(version).join("tls.key"), key).unwrap();
        }
        let link = |to: &str, name: &str| symlink(Path::new(to), folder.0.join(name)).unwrap();
        link("..1", "..data");
        link("..data/tls.crt", "tls.crt");
        link("..data/tls.key", "tls.key");
        let files = folder.open().unwrap();
        link("..2", "..data_tmp");
        fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
        fs::remove_dir_all(folder.0.join("..1")).unwrap();
        assert!(renewed(&files).await);
    }

    #[test]
    fn mt32_what_cannot_be_presented_is_refused_when_built() {
        let folder = Folder::new("bad");
        let error = || folder.open().err().unwrap().to_string();
        assert!(error().contains("file can't be read"));
        let (one, other) = (pair(), pair());
        folder.write(&(one.0.clone(), other.1));
        let refused = error();
        assert!(refused.contains("private key, both as PEM"), "{refused}");
        assert!(!refused.contains("PRIVATE"));
        folder.write(&one);
        assert!(folder.open().is_ok());
        fs::remove_file(folder.0.join("tls.key")).unwrap();
        assert!(error().contains("private key can't be read"));
    }
}
