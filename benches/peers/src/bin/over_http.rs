//! Every contender served over HTTP/1.1 on loopback, in turns: a child process with one thread
//! serves, this one asks. Prints Markdown.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_bearer_peers::contenders::{self, Role};
use tower_bearer_peers::issuer::{Algorithm, Issuer};
use tower_bearer_peers::{Spread, median, spread};

const CONNECTIONS: usize = 16;
const TURN: Duration = Duration::from_millis(120);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    if let [first, algorithm] = &arguments[..]
        && first == "serve"
    {
        runtime.block_on(serve(algorithm));
        return;
    }
    let rounds = if arguments.iter().any(|argument| argument == "--quick") { 7 } else { 41 };
    let pipeline = arguments.iter().position(|argument| argument == "--pipeline");
    let pipeline = pipeline.map_or(1, |at| arguments[at + 1].parse().expect("a number"));
    for algorithm in Algorithm::ALL.iter().copied() {
        runtime.block_on(ask(algorithm, pipeline, rounds));
    }
}

/// The child: serves every contender on a port of its own until its standard input ends.
async fn serve(algorithm: &str) {
    let issuers = Issuer::start_all();
    let issuer = issuers.iter().find(|issuer| issuer.algorithm.name() == algorithm);
    let issuer = issuer.expect("an algorithm");
    let token = issuer.token();
    println!("{token}");
    for mut contender in contenders::all(issuer, 1).await {
        if matches!(contender.role, Role::Raw | Role::Churn) {
            continue;
        }
        let status = contender.subject.status(Some(&token)).await;
        if status != Some(http::StatusCode::OK) {
            continue;
        }
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let listener = listener.expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        contender.subject.serve(listener);
        println!("{address} {}", contender.name);
    }
    println!();
    std::io::stdout().flush().expect("the parent listens");
    let (ended, parent) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        drop(ended);
    });
    let _ = parent.await;
}

struct Connection {
    stream: TcpStream,
    /// As many answers as requests are sent at once.
    answers: Vec<u8>,
    each: usize,
}

impl Connection {
    /// Connects, and learns from the first answer how long they all are.
    async fn open(address: SocketAddr, request: &[u8], pipeline: usize) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.write_all(request).await.expect("a request");
        let mut answer = vec![0; 4_096];
        let mut read = 0;
        while !answer[..read].ends_with(b"\r\n\r\nok") {
            let more = stream.read(&mut answer[read..]).await.expect("an answer");
            assert_ne!(more, 0, "the connection was closed");
            read += more;
        }
        Self { stream, answers: vec![0; read * pipeline], each: read }
    }

    async fn ask_until(&mut self, end: Instant, requests: &[u8]) -> u32 {
        let mut answered = 0;
        while Instant::now() < end {
            self.stream.write_all(requests).await.expect("a request");
            self.stream.read_exact(&mut self.answers).await.expect("an answer");
            for answer in self.answers.chunks(self.each) {
                assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
                answered += 1;
            }
        }
        answered
    }
}

struct Target {
    name: String,
    connections: Vec<Connection>,
    per_second: Vec<f64>,
    /// Nanoseconds that the server was on a processor, for a request.
    nanos: Vec<f64>,
}

impl Target {
    async fn turn(&mut self, server: u32, requests: &[u8]) -> (f64, f64) {
        let busy = on_processor(server);
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for mut connection in self.connections.drain(..) {
            let requests = requests.to_vec();
            tasks.spawn(async move {
                let answered = connection.ask_until(start + TURN, &requests).await;
                (connection, answered)
            });
        }
        let mut answered = 0;
        while let Some(done) = tasks.join_next().await {
            let (connection, count) = done.expect("a connection");
            self.connections.push(connection);
            answered += count;
        }
        let answered = f64::from(answered);
        let busy = on_processor(server) - busy;
        (answered / start.elapsed().as_secs_f64(), busy / answered)
    }
}

/// For how many nanoseconds a process's first thread was on a processor (Linux).
fn on_processor(process: u32) -> f64 {
    let statistics = std::fs::read_to_string(format!("/proc/{process}/schedstat"));
    let first = statistics.ok().and_then(|text| text.split(' ').next()?.parse().ok());
    first.unwrap_or(f64::NAN)
}

async fn ask(algorithm: Algorithm, pipeline: usize, rounds: usize) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["serve", algorithm.name()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut line = || lines.next().expect("a line").expect("a line");
    let token = line();
    let request = format!(
        "GET /orders HTTP/1.1\r\nhost: api.example.com\r\nuser-agent: bench/1\r\naccept: */*\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    let requests = request.repeat(pipeline);
    let mut targets = Vec::new();
    loop {
        let line = line();
        let Some((address, name)) = line.split_once(' ') else { break };
        let address = address.parse().expect("an address");
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::open(address, request.as_bytes(), pipeline).await);
        }
        let name = name.to_owned();
        targets.push(Target { name, connections, per_second: Vec::new(), nanos: Vec::new() });
    }
    for round in 0..=rounds {
        for turn in 0..targets.len() {
            let index = (turn + round) % targets.len();
            let (per_second, nanos) = targets[index].turn(child.id(), requests.as_bytes()).await;
            // The first round only warms up.
            if round > 0 {
                targets[index].per_second.push(per_second);
                targets[index].nanos.push(nanos);
            }
        }
    }
    println!("\n## {} over HTTP/1.1 on loopback, {pipeline} at once\n", algorithm.name());
    print(&targets);
    drop(child.stdin.take());
    child.wait().expect("the child's end");
}

fn print(targets: &[Target]) {
    let find = |name: &str| targets.iter().find(|target| target.name.starts_with(name));
    let find = |name| find(name).expect("it is in the list");
    let bare = find("bare");
    let control = find("control, `.layer`");
    let seen = find("tower-bearer, token seen before, `.layer`");
    let ratio =
        |own: &[f64], base: &[f64]| spread(own.iter().zip(base).map(|(own, base)| own / base));
    println!(
        "| | requests/s | bare = 1 (quartiles) | control = 1 | seen / this | server's CPU, µs \
         | CPU, bare = 1 | CPU, this / seen |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for target in targets {
        let Spread { low, median: middle, high } = ratio(&target.per_second, &bare.per_second);
        println!(
            "| {} | {:.0} | {middle:.3} ({low:.3} to {high:.3}) | {:.3} | {:.2} | {:.1} | {:.3} \
             | {:.2} |",
            target.name,
            median(target.per_second.iter().copied()),
            ratio(&target.per_second, &control.per_second).median,
            ratio(&seen.per_second, &target.per_second).median,
            median(target.nanos.iter().copied()) / 1e3,
            ratio(&bare.nanos, &target.nanos).median,
            ratio(&target.nanos, &seen.nanos).median,
        );
    }
}
