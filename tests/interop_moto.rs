//! The secret in AWS Secrets Manager against moto, an independent implementation of its API.

#![allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/log.rs"]
mod log;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/process.rs"]
mod process;
#[path = "support/rotating_server.rs"]
mod rotating_server;

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Builder, Config, Credentials, Region};
use aws_sdk_secretsmanager::primitives::Blob;
use log::Log;
use process::Process;
use rotating_server::{RotatingServer, no_call_fails};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tower_bearer::Secret;
use tower_bearer::client::{AwsSecretsManager, SecretErrorKind, SecretProvider};

const START: Duration = Duration::from_secs(60);
const NAME: &str = "production/orders/oauth";

/// The service in a process of its own. Its secrets end with it.
struct Moto {
    endpoint: String,
    process: Process,
}

impl Moto {
    fn start() -> Self {
        Self::start_at("0").expect("moto starts")
    }

    fn start_at(port: &str) -> Option<Self> {
        let mut command = Command::new(process::python());
        command.arg(process::interop("moto/server.py"));
        command.env("PORT", port).env("EXIT_WITH_STDIN", "1");
        let process = Process::spawn(command);
        let line = process.line_with("endpoint", START)?;
        let ready: Value = serde_json::from_str(&line).unwrap();
        Some(Self { endpoint: ready["endpoint"].as_str().unwrap().to_owned(), process })
    }

    fn restart(&mut self) {
        let port = self.endpoint.rsplit(':').next().unwrap();
        // Another program may have been given the port for a moment.
        let began = Instant::now();
        *self = loop {
            if let Some(started) = Self::start_at(port) {
                break started;
            }
            assert!(began.elapsed() < START, "moto doesn't start again");
            std::thread::sleep(Duration::from_millis(200));
        };
    }

    fn client(&self) -> Client {
        client(&self.endpoint)
    }
}

fn config(endpoint: &str) -> Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
}

fn client(endpoint: &str) -> Client {
    let credentials = Credentials::new("AKIAEXAMPLE", "key-canary", None, None, "test");
    Client::from_conf(config(endpoint).credentials_provider(credentials).build())
}

async fn create(client: &Client, value: &str) {
    client.create_secret().name(NAME).secret_string(value).send().await.unwrap();
}

async fn rotate(client: &Client, value: &str) {
    client.put_secret_value().secret_id(NAME).secret_string(value).send().await.unwrap();
}

async fn read(provider: &AwsSecretsManager) -> Secret {
    provider.secret().await.expect("there is a secret")
}

async fn failure(provider: &AwsSecretsManager) -> SecretErrorKind {
    provider.secret().await.expect_err("there is no secret").kind()
}

#[tokio::test]
async fn a_secret_is_had_whole_or_by_its_field() {
    let moto = Moto::start();
    let client = moto.client();
    let object = r#"{"client_id":"svc","client_secret":"p%:+/ &=s","port":443}"#;
    create(&client, object).await;
    let whole = AwsSecretsManager::new(client.clone(), NAME);
    assert_eq!(read(&whole).await, Secret::new(object));
    let field = |name: &str| AwsSecretsManager::new(client.clone(), NAME).json_field(name);
    assert_eq!(read(&field("client_secret")).await, Secret::new("p%:+/ &=s"));
    for name in ["another", "port"] {
        assert_eq!(failure(&field(name)).await, SecretErrorKind::Malformed, "{name}");
    }
    // Not the JSON that was expected.
    rotate(&client, "plain").await;
    assert_eq!(failure(&field("client_secret")).await, SecretErrorKind::Malformed);
    assert_eq!(read(&whole).await, Secret::new("plain"));
}

#[tokio::test]
async fn a_secret_may_be_bytes() {
    let moto = Moto::start();
    let client = moto.client();
    let bytes = Blob::new(*br#"{"s":"binary"}"#);
    client.create_secret().name(NAME).secret_binary(bytes).send().await.unwrap();
    let whole = AwsSecretsManager::new(client.clone(), NAME);
    assert_eq!(read(&whole).await, Secret::new(r#"{"s":"binary"}"#));
    assert_eq!(
        read(&AwsSecretsManager::new(client, NAME).json_field("s")).await,
        Secret::new("binary")
    );
}

#[tokio::test]
async fn a_rotated_secret_is_had_by_who_asks_next() {
    let moto = Moto::start();
    let client = moto.client();
    create(&client, "one").await;
    let provider = AwsSecretsManager::new(client.clone(), NAME);
    assert_eq!(read(&provider).await, Secret::new("one"));
    rotate(&client, "two").await;
    assert_eq!(read(&provider).await, Secret::new("two"));
}

#[tokio::test]
async fn a_rotation_under_a_token_source_in_use_fails_no_call() {
    let moto = Moto::start();
    let client = moto.client();
    create(&client, r#"{"client_secret":"one"}"#).await;
    let server = RotatingServer::new("one");
    let provider = AwsSecretsManager::new(client.clone(), NAME).json_field("client_secret");
    let calls = no_call_fails(server.source(provider), Duration::from_millis(10));
    let rotation = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        rotate(&client, r#"{"client_secret":"two"}"#).await;
        server.rotate("two");
    };
    tokio::join!(calls, rotation);
    assert_eq!(server.refusals(), 1);
}

#[tokio::test]
async fn a_version_that_is_not_current_yet_is_not_given_out() {
    let moto = Moto::start();
    let client = moto.client();
    create(&client, "one").await;
    let pending = client.put_secret_value().secret_id(NAME).secret_string("two");
    let pending = pending.version_stages("AWSPENDING").send().await.unwrap();
    let provider = AwsSecretsManager::new(client.clone(), NAME);
    assert_eq!(read(&provider).await, Secret::new("one"));

    let listed = client.list_secret_version_ids().secret_id(NAME).send().await.unwrap();
    let is_current = |stage: &String| stage == "AWSCURRENT";
    let current = listed.versions().iter().find(|v| v.version_stages().iter().any(is_current));
    client
        .update_secret_version_stage()
        .secret_id(NAME)
        .version_stage("AWSCURRENT")
        .set_remove_from_version_id(current.and_then(|v| v.version_id.clone()))
        .set_move_to_version_id(pending.version_id)
        .send()
        .await
        .unwrap();
    assert_eq!(read(&provider).await, Secret::new("two"));
}

#[tokio::test]
async fn a_secret_that_is_missing_or_deleted_is_told_apart() {
    let moto = Moto::start();
    let client = moto.client();
    let provider = AwsSecretsManager::new(client.clone(), NAME);
    assert_eq!(failure(&provider).await, SecretErrorKind::NotFound);
    create(&client, "one").await;
    assert_eq!(read(&provider).await, Secret::new("one"));
    client.delete_secret().secret_id(NAME).send().await.unwrap();
    assert_eq!(failure(&provider).await, SecretErrorKind::Other);
    client.restore_secret().secret_id(NAME).send().await.unwrap();
    assert_eq!(read(&provider).await, Secret::new("one"));
    // A name without a value yet.
    client.create_secret().name("empty").send().await.unwrap();
    let empty = AwsSecretsManager::new(client, "empty");
    assert_eq!(failure(&empty).await, SecretErrorKind::NotFound);
}

#[tokio::test]
async fn a_service_that_is_gone_is_an_error_in_time_until_it_is_back() {
    let mut moto = Moto::start();
    let client = moto.client();
    create(&client, "one").await;
    let provider = AwsSecretsManager::new(client.clone(), NAME);
    assert_eq!(read(&provider).await, Secret::new("one"));

    moto.process.kill();
    let began = Instant::now();
    assert_eq!(failure(&provider).await, SecretErrorKind::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());

    moto.restart();
    create(&client, "two").await;
    assert_eq!(read(&provider).await, Secret::new("two"));
}

/// Answers every request with these bytes, or with nothing, and counts them.
async fn scripted(answer: Option<String>) -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, counter) = (answer.clone(), Arc::clone(&counter));
            tokio::spawn(async move {
                let mut buffer = [0; 16_384];
                while matches!(stream.read(&mut buffer).await, Ok(1..)) {
                    *counter.lock().unwrap() += 1;
                    match &answer {
                        Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                        None => std::future::pending().await,
                    }
                }
            });
        }
    });
    (endpoint, requests)
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_service_that_is_slow_overloaded_or_broken_is_a_typed_error_in_time() {
    use SecretErrorKind::{Malformed, NotFound, Other, Unavailable};
    let cases = [
        (None, Unavailable),
        (Some(String::from("nonsense")), Other),
        (Some(http("500 Internal Server Error", "")), Unavailable),
        (Some(http("503 Service Unavailable", "<html>")), Unavailable),
        (Some(http("429 Too Many Requests", "{}")), Unavailable),
        (Some(http("400 Bad Request", r#"{"__type":"ThrottlingException"}"#)), Unavailable),
        (Some(http("500 Oops", r#"{"__type":"InternalServiceError"}"#)), Unavailable),
        (Some(http("400 Bad Request", r#"{"__type":"ResourceNotFoundException"}"#)), NotFound),
        (Some(http("400 Bad Request", r#"{"__type":"AccessDeniedException"}"#)), Other),
        (Some(http("400 Bad Request", r#"{"__type":"DecryptionFailure"}"#)), Other),
        (Some(http("403 Forbidden", r#"{"__type":"UnrecognizedClientException"}"#)), Other),
        (Some(http("200 OK", "<html>")), Other),
        (Some(http("200 OK", r#"{"SecretString":"cut"#)), Other),
        (Some(http("200 OK", "{}")), Malformed),
        (Some(http("200 OK", r#"{"SecretString":""}"#)), Malformed),
        (Some(http("200 OK", r#"{"SecretBinary":""}"#)), Malformed),
    ];
    for (answer, kind) in cases {
        let text = format!("{answer:?}");
        let (endpoint, _) = scripted(answer).await;
        let provider = AwsSecretsManager::new(client(&endpoint), NAME);
        let began = Instant::now();
        assert_eq!(failure(&provider).await, kind, "{text}");
        assert!(began.elapsed() < Duration::from_secs(6), "{text}: {:?}", began.elapsed());
    }
    let (endpoint, _) = scripted(Some(http("200 OK", r#"{"SecretString":"well"}"#))).await;
    assert_eq!(read(&AwsSecretsManager::new(client(&endpoint), NAME)).await, Secret::new("well"));
}

#[tokio::test]
async fn a_client_without_credentials_is_an_error() {
    let (endpoint, requests) = scripted(Some(http("200 OK", r#"{"SecretString":"s"}"#))).await;
    let provider = AwsSecretsManager::new(Client::from_conf(config(&endpoint).build()), NAME);
    assert_eq!(failure(&provider).await, SecretErrorKind::Other);
    assert_eq!(*requests.lock().unwrap(), 0);
}

// L1, L2
#[test]
fn l1_l2_the_secret_is_in_no_log_and_nothing_shows_it() {
    let log = Log::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shown = runtime.block_on(async {
        let moto = Moto::start();
        let client = moto.client();
        create(&client, r#"{"s":"secret-canary"}"#).await;
        // What the SDK logs of what we sent it here is not the provider's doing.
        log.clear();
        let provider = AwsSecretsManager::new(client, NAME).json_field("s");
        let read = provider.secret().await;
        assert!(read.is_ok());
        let wrong = AwsSecretsManager::new(moto.client(), NAME).json_field("another");
        let failed = wrong.secret().await;
        format!("{provider:?} {read:?} {failed:?} {}", failed.as_ref().unwrap_err())
    });
    assert!(shown.contains(NAME) && !shown.contains("canary"), "{shown}");
    let log = log.text();
    assert!(log.contains("GetSecretValue"), "the SDK logs something");
    for line in log.lines() {
        assert!(!line.contains("canary"), "{line}");
    }
}
