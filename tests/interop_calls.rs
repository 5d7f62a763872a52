//! Refusals as the clients of gRPC-Web and Connect understand them: npm's `grpc-web`, and Connect's for Node.
//!
//! `scripts/setup.sh` installs them.

#![allow(clippy::disallowed_methods, reason = "clients live in real time")]

mod world;

use std::path::Path;
use std::process::Command;

use axum::Router;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tower_bearer::middleware::UnreadBodyLayer;
use tower_bearer::{Access, RouteTable};
use world::Issuer;

/// What a client understood.
#[derive(Debug, Deserialize)]
struct Understood {
    client: String,
    call: String,
    #[serde(default)]
    code: Value,
    name: Option<String>,
    message: Option<String>,
    #[serde(default)]
    details: Value,
    challenge: Option<String>,
}

/// Runs the clients against a service whose calls need the scope `orders`.
async fn understood() -> Vec<Understood> {
    let issuer = Issuer::new();
    let routes =
        RouteTable::builder().grpc_service("shop.Orders", Access::scope("orders")).build().unwrap();
    let layer = issuer.layer().routes(routes).resource("https://api.example").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        axum::serve(listener, Router::new().layer(layer).layer(UnreadBodyLayer::new())).await
    });

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/calls");
    let token = issuer.token("other");
    let output = tokio::task::spawn_blocking(move || {
        let mut node = Command::new("node");
        node.current_dir(folder).args(["client.js", &base, &token]).output()
    });
    let output = output.await.unwrap().expect("run scripts/setup.sh to install the clients");
    let (said, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "run scripts/setup.sh to install the clients: {errors}");
    said.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

const METADATA: &str =
    r#"resource_metadata="https://api.example/.well-known/oauth-protected-resource""#;

#[tokio::test]
async fn wb1_wb3_clients_see_code_message_details_and_challenge() {
    let understood = understood().await;
    assert_eq!(understood.len(), 2 * (2 + 6 + 3), "{understood:#?}");
    for it in &understood {
        let (number, name, message, reason) = match &*it.call {
            "without" => {
                (16, "Unauthenticated", "An access token is required", "CREDENTIALS_MISSING")
            }
            _ => (
                7,
                "PermissionDenied",
                "The request requires higher privileges than provided by the access token",
                "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            ),
        };
        assert_eq!(it.code, number, "{it:#?}");
        assert_eq!(it.message.as_deref(), Some(message), "{it:#?}");
        let challenge = it.challenge.as_deref().unwrap_or_default();
        assert!(challenge.ends_with(&format!(r#"scope="orders", {METADATA}"#)), "{it:#?}");
        if it.client.starts_with("grpc-web-") {
            // It hands the encoded status on.
            let details = it.details.as_str().unwrap_or_default();
            assert!(details.len() > 40, "{it:#?}");
        } else {
            assert_eq!(it.name.as_deref(), Some(name), "{it:#?}");
            assert_eq!(it.details[0][0], "google.rpc.ErrorInfo", "{it:#?}");
            let info = it.details[0][1].as_str().unwrap();
            for part in [reason, "tower-bearer", "required_scope", "orders"] {
                assert!(info.contains(part), "{it:#?}");
            }
        }
    }
}
