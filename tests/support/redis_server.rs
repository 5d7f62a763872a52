//! A real Redis in a process of its own.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::process::{self, Process, free_port};

const START: Duration = Duration::from_secs(20);

/// A `redis-server` on a free port of loopback, which keeps nothing on disk.
#[derive(Debug)]
pub(crate) struct RedisServer {
    port: u16,
    other_port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
    process: Process,
}

impl RedisServer {
    /// Starts a server with its defaults.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with these arguments besides, in which `{port}` stands for another free port.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let folder = process::scratch("redis");
        fs::create_dir_all(&folder).expect("a folder for the server");
        let began = Instant::now();
        loop {
            // Another program may take a port before the server does.
            let (port, other_port) = (free_port(), free_port());
            let other = other_port.to_string();
            let arguments: Vec<String> =
                arguments.iter().map(|argument| argument.replace("{port}", &other)).collect();
            if let Some(process) = spawn(port, &folder, &arguments) {
                return Self { port, other_port, folder, arguments, process };
            }
            assert!(began.elapsed() < START, "redis-server doesn't start");
        }
    }

    /// Returns the URL of the server's database 0.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Returns the port, which stays the same when the server is started again.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the port that `{port}` stands for in the arguments.
    pub(crate) const fn other_port(&self) -> u16 {
        self.other_port
    }

    /// Kills the server. Its port refuses connections from then on.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the killed server again, empty, on the same port.
    pub(crate) fn start_again(&mut self) {
        let began = Instant::now();
        loop {
            if let Some(process) = spawn(self.port, &self.folder, &self.arguments) {
                self.process = process;
                return;
            }
            assert!(began.elapsed() < START, "redis-server doesn't start again");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops the server's work, as a machine that hangs does. Connections stay open.
    pub(crate) fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Lets the frozen server go on.
    pub(crate) fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Runs a command with `redis-cli` and returns what it printed.
    pub(crate) fn cli(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]).args(command);
        let output = cli.output().unwrap_or_else(|error| {
            panic!("redis-cli doesn't start ({error}): {}", process::TO_INSTALL)
        });
        assert!(output.status.success(), "{cli:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    /// Returns how many connections there are, besides the one that asks.
    pub(crate) fn connections(&self) -> usize {
        self.cli(&["client", "list", "type", "normal"])
            .lines()
            .filter(|line| !line.contains("cmd=client"))
            .count()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.process.kill();
        let _gone_already = fs::remove_dir_all(&self.folder);
    }
}

/// Starts the program and waits until it serves.
fn spawn(port: u16, folder: &PathBuf, arguments: &[String]) -> Option<Process> {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(folder)
        .args(arguments);
    let process = Process::spawn(command);
    process.line_with("Ready to accept connections", START)?;
    Some(process)
}
