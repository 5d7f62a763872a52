//! What the tokens of many tenants take of the process's memory, all that the allocator adds included. The
//! bytes that are asked for are counted by `cargo bench --bench goals`.
#![cfg(all(feature = "client", target_os = "linux"))]
#![allow(clippy::arithmetic_side_effects, clippy::unwrap_used)]

use std::fs;

use bytes::Bytes;
use http::{Request, Response};
use tower_bearer::client::{ClientAuth, Grant, TokenClient};
use tower_bearer::transport::{Limits, Transport, TransportFuture};

/// The most that a tenant may take.
const EACH: usize = 4_608;
const TENANTS: usize = 10_000;
/// So many come before anything is measured: by then the code is in memory.
const BEFORE: usize = 1_000;

/// Grants tokens that are as long as JWTs are.
struct Granting(Bytes);

impl Transport for Granting {
    fn send(&self, _: Request<Bytes>, _: Limits) -> TransportFuture {
        let answer = self.0.clone();
        Box::pin(async { Ok(Response::new(answer)) })
    }
}

/// Returns how much of the process is in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

#[tokio::test]
async fn ten_thousand_tenants_take_four_and_a_half_kibibytes_each() {
    let token = "a".repeat(800);
    let answer =
        format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":86400}}"#);
    let client = TokenClient::builder().transport(Granting(answer.into())).capacity(TENANTS);
    let client = client.build().unwrap();
    let mut at_first = 0;
    for tenant in 0..TENANTS {
        if tenant == BEFORE {
            at_first = resident();
        }
        let auth = ClientAuth::basic("billing-worker", format!("secret of tenant {tenant}"));
        let grant = Grant::endpoint("https://login.example.com/token", auth)
            .tenant(&format!("tenant-{tenant}"))
            .scope("orders:read")
            .build()
            .unwrap();
        client.token(&grant).await.unwrap();
    }
    assert_eq!(client.cached_grants(), TENANTS);
    let each = (resident() - at_first) / (TENANTS - BEFORE);
    // Not nothing, so that it was measured.
    assert!((800..=EACH).contains(&each), "{each} bytes each");
}
