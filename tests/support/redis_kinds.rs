//! Several real Redis servers that are one: a cluster, or a primary with a replica and Sentinels. And
//! peers that say what a test has them say.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{self, Process, at_free_port, free_port};
use crate::redis_server::RedisServer;

/// How long servers may take to find each other, or to agree on another primary.
pub(crate) const AGREEMENT: Duration = Duration::from_secs(40);

/// What the Sentinels want from clients and from each other.
const SENTINEL_PASSWORD: &str = "sentinel-secret";

/// Waits until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < AGREEMENT, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A cluster of three primaries with as many slots each, and their replicas.
pub(crate) struct RedisCluster {
    pub(crate) servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts one; each primary has so many replicas.
    pub(crate) fn start(replicas: usize, arguments: &[&str]) -> Self {
        let servers: Vec<_> = (0..3 * (1 + replicas))
            .map(|_| {
                let cluster = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"];
                let port = ["--cluster-port", "{port}", "--cluster-node-timeout", "2000"];
                RedisServer::start_with(&[&cluster[..], &port, arguments].concat())
            })
            .collect();
        let places = servers.iter().map(|server| format!("127.0.0.1:{}", server.port()));
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(places);
        create.args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"]);
        let output = create.output().expect("redis-cli runs");
        assert!(output.status.success(), "{output:?}");
        let cluster = Self { servers };
        for server in &cluster.servers {
            until("the servers know of all", || {
                let known = server.cli(&["cluster", "nodes"]);
                let replicas = known.lines().filter(|line| line.contains("slave")).count();
                replicas * 2 == known.lines().count() || cluster.servers.len() == 3
            });
            until("the cluster is up", || server.cli(&["cluster", "info"]).contains("state:ok"));
            until("the replicas are up", || {
                let about = server.cli(&["info", "replication"]);
                about.contains("role:master") || about.contains("master_link_status:up")
            });
        }
        cluster
    }

    /// Returns the URLs of all servers, from the last to the first.
    pub(crate) fn urls(&self) -> Vec<String> {
        let urls = self.servers.iter().rev();
        urls.map(|server| format!("redis://127.0.0.1:{}", server.port())).collect()
    }

    /// Returns which server has the slot of a key, as this one knows.
    pub(crate) fn owner(&self, key: &str, asked: usize) -> usize {
        let slot: u16 = self.servers[asked].cli(&["cluster", "keyslot", key]).parse().unwrap();
        let nodes = self.servers[asked].cli(&["cluster", "nodes"]);
        let has = |line: &&str| {
            line.split(' ').skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let number = |text: &str| text.parse::<u16>().ok();
                number(first).zip(number(last)).is_some_and(|(a, b)| (a..=b).contains(&slot))
            })
        };
        // A primary that was replaced is told apart by having no slots.
        let line = nodes.lines().find(has).expect("somebody has it");
        let at = |server: &RedisServer| line.contains(&format!("127.0.0.1:{}@", server.port()));
        self.servers.iter().position(at).expect("one of these")
    }

    pub(crate) fn id(&self, server: usize) -> String {
        self.servers[server].cli(&["cluster", "myid"])
    }
}

/// A primary, its replica, and three Sentinels that watch them.
pub(crate) struct Watched {
    pub(crate) primary: RedisServer,
    pub(crate) replica: RedisServer,
    sentinels: Vec<(u16, PathBuf, Process)>,
}

impl Watched {
    pub(crate) fn start() -> Self {
        let primary = RedisServer::start();
        let port = primary.port().to_string();
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
        until("the replica is up", || {
            replica.cli(&["info", "replication"]).contains("master_link_status:up")
        });
        let sentinel_at = |own: u16| {
            let file = process::scratch("sentinel.conf");
            let settings = format!(
                "port {own}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {port} 2\n\
                 requirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n\
                 sentinel down-after-milliseconds mymaster 2000\n\
                 sentinel failover-timeout mymaster 8000\n"
            );
            fs::write(&file, settings).expect("a file for the Sentinel");
            let mut command = Command::new("redis-server");
            command.arg(&file).arg("--sentinel");
            let process = Process::spawn(command);
            // It says so once it listens.
            process.line_with("Sentinel ID is", AGREEMENT)?;
            Some((own, file, process))
        };
        let sentinels = (0..3).map(|_| at_free_port(sentinel_at)).collect();
        let watched = Self { sentinels, primary, replica };
        for (port, ..) in &watched.sentinels {
            until("the Sentinels know each other and the replica", || {
                let about = sentinel(*port, &["info", "sentinel"]);
                about.contains("slaves=1,sentinels=3")
            });
        }
        watched
    }

    /// Returns the URLs of the Sentinels, after that of one that isn't there.
    pub(crate) fn urls(&self) -> Vec<String> {
        let ports = self.sentinels.iter().map(|(port, ..)| *port);
        let urls = std::iter::once(free_port()).chain(ports);
        urls.map(|port| format!("redis://:{SENTINEL_PASSWORD}@127.0.0.1:{port}")).collect()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for (_, file, process) in &mut self.sentinels {
            process.kill();
            let _gone_already = fs::remove_file(file);
        }
    }
}

fn sentinel(port: u16, command: &[&str]) -> String {
    let login = ["-p", &port.to_string(), "-a", SENTINEL_PASSWORD, "--no-auth-warning"];
    let output = Command::new("redis-cli").args(login).args(command).output();
    String::from_utf8(output.expect("redis-cli runs").stdout).expect("text")
}

/// A peer that answers each command as it is told to, for ever.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    /// Begins to listen; what is said may depend on who listens.
    pub(crate) fn start(answer: impl Fn(u16, &str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, answer) = (Arc::clone(&connections), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = Arc::clone(&answer);
                thread::spawn(move || converse(stream, |command| answer(port, command)));
            }
        });
        Self { port, connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Reads commands, which hold no line end here, and answers each.
fn converse(mut stream: TcpStream, answer: impl Fn(&str) -> String) {
    let (mut heard, mut buffer) = (String::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
        while let Some((command, rest)) = first(&heard) {
            heard = rest;
            let answer =
                if command.starts_with("CLIENT") { "+OK\r\n".into() } else { answer(&command) };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Takes the first whole command: its words with spaces between, and what comes after it.
fn first(heard: &str) -> Option<(String, String)> {
    let mut lines = heard.split_inclusive("\r\n");
    let count: usize = lines.next()?.strip_prefix('*')?.trim_end().parse().ok()?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (_length, word) = (lines.next()?, lines.next()?.strip_suffix("\r\n")?);
        words.push(word);
    }
    Some((words.join(" "), lines.collect()))
}
