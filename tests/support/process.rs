//! Child processes that end with the test that started them.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

pub(crate) const TO_INSTALL: &str =
    "run scripts/setup.sh, which installs what the interop tests need";

/// Returns the virtual environment that `scripts/setup.sh` makes in cargo's target directory.
fn environment() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../interop-venv")
}

/// Returns the path of a file under `tests/interop`.
pub(crate) fn interop(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(path)
}

/// Returns the Python that has the interop tests' packages.
pub(crate) fn python() -> PathBuf {
    let python = environment().join("bin/python");
    assert!(python.exists(), "{} is missing: {TO_INSTALL}", python.display());
    assert!(environment().join("installed").exists(), "Python packages are missing: {TO_INSTALL}");
    python
}

/// Returns the Node that `scripts/setup.sh` settled on: its own, else the system's.
pub(crate) fn node() -> PathBuf {
    let modules = interop("oidc-provider/node_modules/.installed");
    assert!(modules.exists(), "npm packages are missing: {TO_INSTALL}");
    let own = environment().join("bin/node");
    if own.exists() { own } else { PathBuf::from("node") }
}

/// Returns a path for a file that no other test uses.
pub(crate) fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{count}-{name}", std::process::id()))
}

/// Returns the path of a built example. Cargo builds the examples with the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().expect("the test is a file");
    path.pop(); // the test
    path.pop(); // deps
    path.push("examples");
    path.push(name);
    let hint = "build it with cargo build --workspace --examples";
    assert!(path.exists(), "{}: {hint}", path.display());
    path
}

/// Returns a port of loopback that is free at the moment. It is below those that systems give to
/// connections (from 32768 on): one of these is easily taken before a server listens there.
pub(crate) fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish() & 0x3fff;
        let port = u16::try_from(random).expect("14 bits") | 0x4000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts a server that is told its port. Another program may take the port before the server does;
/// then there is `None`, and another port is tried.
pub(crate) fn at_free_port<T>(start: impl Fn(u16) -> Option<T>) -> T {
    (0..3).find_map(|_| start(free_port())).expect("the server starts")
}

/// A child process whose standard output is read line by line. It is killed on drop, and what it
/// wrote to standard error is shown when the test failed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The servers end when this closes, so that they end even if the test was killed.
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    stderr: PathBuf,
}

impl Process {
    /// Starts the command.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let stderr = scratch("stderr");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).expect("a file for standard error"));
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} doesn't start ({error}): {TO_INSTALL}"));
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { stdin: child.stdin.take(), child, lines, stderr }
    }

    /// Returns the next line of standard output; `None` when there is none within the time, or the
    /// process has closed it.
    pub(crate) fn line(&self, within: Duration) -> Option<String> {
        self.lines.recv_timeout(within).ok()
    }

    /// Returns the next line of standard output that has this text; `None` as [`line`](Self::line).
    pub(crate) fn line_with(&self, text: &str, within: Duration) -> Option<String> {
        let began = Instant::now();
        while let Some(line) = self.line(within.saturating_sub(began.elapsed())) {
            if line.contains(text) {
                return Some(line);
            }
        }
        eprintln!("no line with {text:?}:\n{}", self.stderr());
        None
    }

    /// Waits until an example says at which host and port it listens, and returns these.
    pub(crate) fn listening_on(&self, within: Duration) -> Option<String> {
        let line = self.line_with("listening on ", within)?;
        let (_, address) = line.split_once("://")?;
        address.split([',', ' ', '/']).next().map(str::to_owned)
    }

    /// Waits until the process accepts connections at this port; `false` if it doesn't in time, or ends.
    pub(crate) fn listens(&mut self, port: u16, within: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < within && self.wait(Duration::from_millis(20)).is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return true;
            }
        }
        eprintln!("nothing listens at {port}:\n{}", self.stderr());
        false
    }

    /// Writes a line to the process's standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is a pipe");
        writeln!(stdin, "{line}").expect("the process reads its standard input");
    }

    /// Returns what the process wrote to standard error.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Ends the process at once.
    pub(crate) fn kill(&mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }

    /// Sends the process a signal: `TERM`, as a service manager does, or `INT`, as a terminal does.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill doesn't reach the process");
    }

    /// Waits for the process to end of itself.
    pub(crate) fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < within {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("standard error of the child process:\n{}", self.stderr());
        }
        let _gone_already = fs::remove_file(&self.stderr);
    }
}
