//! A service without a secret: it authenticates with the token that its platform projects into a file,
//! which is swapped while it runs, as kubelet does it.
//!
//! ```text
//! cargo run --example workload_identity --features service-to-service
//! ```
//!
//! Each line of its output is a step, which of the platform's tokens was sent, and how many access tokens
//! the authorization server has granted so far.

use std::error::Error;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fs, io};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use tower_bearer::client::{ClientAuth, Grant, WorkloadToken};
use tower_bearer::testing::{Endpoint, TestClient, TestIssuer};

const SUBJECT: &str = "system:serviceaccount:shop:billing";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The platform, which says who a workload is, and the authorization server, which believes it. Access
    // tokens live for a second, so that one can see them replaced.
    let platform = TestIssuer::start().await?;
    let issuer = TestIssuer::builder()
        .client(TestClient::workload("billing", &platform, SUBJECT))
        .token_lifetime(Duration::from_secs(1))
        .start()
        .await?;
    let project = |name: &str, lifetime: u64| {
        let token = platform.token().subject(SUBJECT).audience(issuer.issuer());
        token.claim("jti", name).expires_in(Duration::from_secs(lifetime)).sign()
    };
    let volume = Volume::mount()?;

    // The service: the file in place of a secret.
    let auth = ClientAuth::workload("billing", WorkloadToken::file(volume.token()));
    let tokens = Grant::discover(issuer.issuer(), auth).allow_loopback_http().source()?;

    let line = |step: &str, seen: &str| {
        println!("{step:<43} {seen:<70} granted {}", issuer.counters().granted());
    };
    // Each step waits until no access token serves any more, changes the file, and asks for another.
    let get = async |step: &str, wait: u64, change: &dyn Fn() -> io::Result<()>| {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        change()?;
        match tokens.token().await {
            Ok(_) => line(step, &format!("sent the {}", last_sent(&issuer).unwrap_or_default())),
            Err(error) => line(step, &error.kind().to_string()),
        }
        Ok::<_, Box<dyn Error>>(())
    };
    get("the file is read", 0, &|| volume.swap(&project("first", 600))).await?;
    get("it was swapped, and is read again", 1_100, &|| volume.swap(&project("second", 600)))
        .await?;
    get("half of it is there, the one before serves", 1_100, &|| volume.swap("eyJhbGciOi")).await?;
    get("it was swapped again", 1_100, &|| volume.swap(&project("third", 2))).await?;
    get("it is gone, and the one before has expired", 2_100, &|| volume.lose()).await?;
    get("it is back", 1_100, &|| volume.swap(&project("fourth", 600))).await
}

/// Returns the name of the platform's token that came last.
fn last_sent(issuer: &TestIssuer) -> Option<String> {
    let request = issuer.last_request(Endpoint::Token)?;
    let form = std::str::from_utf8(request.body()).ok()?;
    let (_, assertion) = form.split_once("client_assertion=")?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("jti")?.as_str()?.to_owned())
}

/// A projected volume: `token` leads to `..data/token`, and `..data` to the newest folder.
struct Volume(PathBuf);

impl Volume {
    fn mount() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("workload-identity-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        symlink("..data/token", folder.join("token"))?;
        Ok(Self(folder))
    }

    fn token(&self) -> PathBuf {
        self.0.join("token")
    }

    /// Puts another token in place: nobody ever sees a half of it.
    fn swap(&self, token: &str) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = format!("..{}", COUNT.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(self.0.join(&folder))?;
        fs::write(self.0.join(&folder).join("token"), token)?;
        symlink(&folder, self.0.join("..data_tmp"))?;
        fs::rename(self.0.join("..data_tmp"), self.data())
    }

    fn lose(&self) -> io::Result<()> {
        fs::remove_file(self.data())
    }

    fn data(&self) -> PathBuf {
        self.0.join("..data")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _gone_already = fs::remove_dir_all(&self.0);
    }
}
