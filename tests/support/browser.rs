//! Debian's Chromium, without a window.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::process;

/// A browser that ends with the test, and the folder that it writes into.
pub(crate) struct Browser {
    process: Child,
    folder: PathBuf,
}

impl Browser {
    pub(crate) fn open(url: &str) -> Self {
        let folder = process::scratch("browser");
        let process = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", folder.display()))
            .args(["--remote-debugging-port=0", url])
            .env("HOME", &folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("run scripts/setup.sh to install chromium");
        Self { process, folder }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}
