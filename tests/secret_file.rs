//! A client's secret in a mounted file, rotated under a token source in use.

#![allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "the tests' clock is their own")]

#[path = "support/rotating_server.rs"]
mod rotating_server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rotating_server::{RotatingServer, no_call_fails};
use tower_bearer::client::FileSecret;

/// A file that is removed at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn new(name: &str, value: &str) -> Self {
        let name = format!("{}-{name}", std::process::id());
        let mounted = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        mounted.replace(value);
        mounted
    }

    fn replace(&self, value: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, value).unwrap();
        fs::rename(new, &self.0).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _gone_already = fs::remove_file(&self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_rotated_in_a_file_takes_effect_without_a_failed_call() {
    let file = Mounted::new("rotated", "one\n");
    let server = RotatingServer::new("one");
    let calls = no_call_fails(server.source(FileSecret::new(&file.0)), Duration::from_millis(10));
    let rotation = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        file.replace("two\n");
        server.rotate("two");
    };
    tokio::join!(calls, rotation);
    assert_eq!(server.refusals(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_changed_before_the_server_knows_or_lost_fails_no_call() {
    let file = Mounted::new("early", "one\n");
    let server = RotatingServer::new("one");
    let calls = no_call_fails(server.source(FileSecret::new(&file.0)), Duration::from_secs(1));
    let rotation = async {
        // What was read is used for 5 minutes.
        tokio::time::sleep(Duration::from_secs(10)).await;
        file.replace("two\n");
        tokio::time::sleep(Duration::from_secs(310)).await;
        server.rotate("two");
        tokio::time::sleep(Duration::from_secs(10)).await;
        fs::remove_file(&file.0).unwrap();
    };
    tokio::join!(calls, rotation);
}
