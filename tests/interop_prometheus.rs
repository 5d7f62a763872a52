//! A real Prometheus scrapes a real service: each expression of the dashboard has an answer there, and each
//! alert rule is evaluated without an error. With `DASHBOARD_PICTURE=<file>.png` the run goes on for 40 seconds,
//! in which what can go wrong does, and a picture is made of what the dashboard shows of it.

#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

mod support;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use support::process::{self, Process, at_free_port};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::Introspection;
use tower_bearer::issuers::{Issuer, Readiness};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Access, BearerAuthLayer, RouteTable, Validator};

/// Longer than Prometheus takes to start and to scrape a few times.
const PATIENCE: Duration = Duration::from_secs(90);

/// Keeps counters and gauges, and writes them as Prometheus reads them.
#[derive(Clone, Debug, Default)]
struct Exporter {
    counters: Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>,
    gauges: Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>,
}

impl Exporter {
    fn text(&self) -> String {
        let mut text = String::new();
        let counters = self.counters.lock().expect("no test panics while it counts");
        for (key, value) in &*counters {
            let _ = writeln!(text, "{key} {}", value.load(Ordering::Relaxed));
        }
        let gauges = self.gauges.lock().expect("no test panics while it counts");
        for (key, value) in &*gauges {
            let _ = writeln!(text, "{key} {}", f64::from_bits(value.load(Ordering::Relaxed)));
        }
        text
    }
}

fn name(key: &Key) -> String {
    let labels = key.labels().map(|label| format!("{}={:?}", label.key(), label.value()));
    format!("{}{{{}}}", key.name(), labels.collect::<Vec<_>>().join(","))
}

fn kept(map: &Mutex<BTreeMap<String, Arc<AtomicU64>>>, key: &Key) -> Arc<AtomicU64> {
    let mut map = map.lock().expect("no test panics while it counts");
    Arc::clone(map.entry(name(key)).or_default())
}

impl Recorder for Exporter {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(kept(&self.counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(kept(&self.gauges, key))
    }

    /// The dashboard asks for none.
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Starts Prometheus, which scrapes this address each second by the rules of `docs/alerts.yml`.
fn prometheus(target: &str, folder: &Path) -> (Process, String) {
    fs::create_dir_all(folder).expect("a folder");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.yml");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [{:?}]\n\
         scrape_configs:\n\
         - job_name: orders\n  \
           static_configs: [{{targets: [{target:?}]}}]\n",
        rules.display().to_string(),
    );
    fs::write(folder.join("prometheus.yml"), config).expect("a file");
    at_free_port(|port| {
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let mut process = Process::spawn(command);
        let api = format!("http://127.0.0.1:{port}/api/v1");
        process.listens(port, PATIENCE).then_some((process, api))
    })
}

/// Asks Prometheus for the result of an instant query.
async fn query(http: &reqwest::Client, api: &str, expr: &str) -> Result<Vec<Value>, String> {
    let expr = utf8_percent_encode(expr, NON_ALPHANUMERIC);
    let answer = http
        .get(format!("{api}/query?query={expr}"))
        .send()
        .await
        .map_err(|error| error.to_string())?;
    let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
    let result = answer["data"]["result"].as_array().cloned();
    result.ok_or_else(|| answer.to_string())
}

/// Has a browser draw the page.
fn picture(url: &str, path: &OsStr) {
    let mut screenshot = OsString::from("--screenshot=");
    screenshot.push(std::env::current_dir().expect("a folder").join(path));
    let profile = process::scratch("dashboard");
    let status = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--window-size=1264,1460", "--virtual-time-budget=10000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(screenshot)
        .arg(url)
        .env("HOME", &profile)
        .status()
        .expect("run scripts/setup.sh to install chromium");
    assert!(status.success(), "{status}");
    let _gone = fs::remove_dir_all(profile);
}

#[tokio::test]
async fn each_expression_of_the_dashboard_has_an_answer() {
    let exporter = Exporter::default();
    let _metrics = metrics::set_default_local_recorder(&exporter);

    // One issuer that is there and answers about opaque tokens, and one that isn't.
    let issuer = TestIssuer::start().await.expect("an issuer");
    let (gone, absent) = ("http://127.0.0.1:1", TestIssuer::start().await.expect("an issuer"));
    let own = ClientAuth::basic(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET);
    let here = Issuer::new(issuer.issuer(), issuer.audience())
        .introspection(Introspection::endpoint(issuer.introspection_endpoint(), own));
    let validator = Validator::issuers([here, Issuer::new(gone, "orders")])
        .readiness(Readiness::any())
        .build()
        .expect("settings");
    validator.ready(Duration::from_secs(20)).await.expect("keys");
    let routes = RouteTable::builder()
        .any("/metrics", Access::public())
        .any("/dashboard", Access::public())
        .any("/dashboard.json", Access::public())
        .route(http::Method::GET, "/read", Access::scope("orders:read"))
        .build()
        .expect("a table");
    let metrics = exporter.clone();
    let app = Router::new()
        .route("/metrics", get(async move || metrics.text()))
        .route("/read", get(async || "orders"))
        .route("/dashboard", get(async || Html(file("tests/interop/dashboard.html"))))
        .route("/dashboard.json", get(async || file("docs/dashboard.json")))
        .layer(BearerAuthLayer::new(validator).routes(routes));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let service = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let good = issuer.token().scope("orders:read");
    let tokens = [
        good.clone().sign(),
        good.clone().opaque(),
        good.clone().scope("orders:write").sign(),
        good.clone().expired_for(Duration::from_secs(3_600)).sign(),
        good.kid("made-up").sign(),
        absent.token().claim("iss", gone).audience("orders").sign(),
        "opaque-and-unknown".to_owned(),
    ];
    let folder = process::scratch("prometheus");
    let (mut prometheus, api) = prometheus(&service, &folder);

    let dashboard: Value = serde_json::from_str(&file("docs/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut open: Vec<(String, String)> = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().expect("targets") {
            let expr = target["expr"].as_str().expect("an expression");
            let expr = expr.replace("$job", "orders").replace("$__rate_interval", "5s");
            assert!(!expr.contains('$'), "a variable that Grafana alone knows: {expr}");
            open.push((panel["title"].to_string(), expr));
        }
    }
    assert!(open.len() >= 12, "{open:?}");
    let began = Instant::now();
    while !open.is_empty() {
        for token in &tokens {
            let request = http.get(format!("http://{service}/read")).bearer_auth(token);
            request.send().await.expect("the service answers");
        }
        let mut missing = Vec::new();
        for (title, expr) in open {
            let answer = query(&http, &api, &expr).await;
            // Not a number is what a share of nothing is.
            let is_number = |it: &Value| it["value"][1].as_str().is_some_and(|it| it != "NaN");
            if !answer.is_ok_and(|answer| answer.iter().any(is_number)) {
                missing.push((title, expr));
            }
        }
        open = missing;
        let waited = began.elapsed() > PATIENCE;
        assert!(!waited, "no answer: {open:#?}\n{}\n{}", exporter.text(), prometheus.stderr());
        sleep(Duration::from_millis(500)).await;
    }

    // Each rule is evaluated without an error, and what is wrong here is seen as it begins to be: no issuer
    // of these keys. That takes a rule longer than an answer.
    let began = Instant::now();
    let rules = loop {
        let rules = http.get(format!("{api}/rules")).send().await.expect("Prometheus answers");
        let rules: Value = rules.json().await.expect("JSON");
        let rules = rules["data"]["groups"][0]["rules"].as_array().expect("rules").clone();
        // After some minutes they fire.
        let is_seen =
            |name: &str| rules.iter().any(|it| it["name"] == name && it["state"] != "inactive");
        let are_seen =
            ["TowerBearerUnavailable", "TowerBearerKeysMissing"].into_iter().all(is_seen);
        if are_seen && rules.iter().all(|rule| rule["health"] == "ok") {
            break rules;
        }
        assert!(began.elapsed() < PATIENCE, "{rules:#?}");
        for token in &tokens {
            let request = http.get(format!("http://{service}/read")).bearer_auth(token);
            request.send().await.expect("the service answers");
        }
        sleep(Duration::from_millis(500)).await;
    };
    assert!(rules.len() >= 7, "{rules:?}");
    let nothing_accepted = rules.iter().find(|rule| rule["name"] == "TowerBearerNothingAccepted");
    assert_eq!(nothing_accepted.expect("a rule")["state"], "inactive");
    if let Some(path) = std::env::var_os("DASHBOARD_PICTURE") {
        for round in 0..80_usize {
            // Good ones always; the others by turns, so that the lines differ.
            for token in tokens.iter().take(2).chain(tokens.get(round / 10)) {
                let request = http.get(format!("http://{service}/read")).bearer_auth(token);
                request.send().await.expect("the service answers");
            }
            sleep(Duration::from_millis(500)).await;
        }
        let page = format!("http://{service}/dashboard?job=orders&seconds=45&api={api}");
        let drawn = tokio::task::spawn_blocking(move || picture(&page, &path));
        drawn.await.expect("a picture");
    }
    prometheus.kill();
    let _gone = fs::remove_dir_all(folder);
}
