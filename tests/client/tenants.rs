//! Many tenants, one handle.

use tokio::time::advance;
use tower_bearer::client::{ClientAuth, Grant, TokenClient};
use tower_bearer::testing::ScriptedTransport;

use crate::support::*;

fn grant(tenant: &str, secret: &str, scope: &str) -> Grant {
    Grant::endpoint(&format!("https://{tenant}.test/token"), ClientAuth::basic("me", secret))
        .scope(scope)
        .build()
        .unwrap()
}

async fn get(client: &TokenClient, grant: &Grant) -> String {
    client.token(grant).await.unwrap().expose_secret().to_owned()
}

// E5
#[tokio::test(start_paused = true)]
async fn e5_each_grant_has_its_own_token_and_equal_ones_share() {
    let transport = counting(600);
    let client = client(&transport);
    let grants = [
        grant("a", "s1", "x"),
        grant("a", "s1", "y"),
        grant("a", "s1", "x y"),
        grant("a", "s2", "x"),
        grant("b", "s1", "x"),
    ];
    let mut tokens = Vec::new();
    for grant in &grants {
        tokens.push(get(&client, grant).await);
    }
    assert_eq!(tokens, ["t1", "t2", "t3", "t4", "t5"]);
    // Built anew, the same grants have the same tokens.
    assert_eq!(get(&client, &grant("a", "s1", "y x x")).await, "t3");
    assert_eq!(get(&client, &grant("a", "s2", "x")).await, "t4");
    assert_eq!(client.cached_grants(), 5);
    assert_eq!(transport.request_count(), 5);
    let clone = client.clone();
    assert_eq!(get(&clone, &grants[0]).await, "t1");
}

// E7
#[tokio::test(start_paused = true)]
async fn e7_a_noisy_tenant_does_not_cost_others_their_tokens() {
    let transport = counting(6_000);
    let client = TokenClient::builder()
        .transport(transport.clone())
        .capacity(20)
        .per_tenant(5)
        .build()
        .unwrap();
    let quiet = grant("quiet", "s", "x");
    let token = get(&client, &quiet).await;
    for n in 0..200 {
        advance(SECOND).await;
        get(&client, &grant("noisy", "s", &format!("s{n}"))).await;
    }
    assert_eq!(client.cached_grants(), 6);
    assert_eq!(get(&client, &quiet).await, token);
    for n in 0..200 {
        advance(SECOND).await;
        get(&client, &grant(&format!("tenant-{n}"), "s", "x")).await;
        get(&client, &quiet).await;
    }
    assert_eq!(client.cached_grants(), 20);
    assert_eq!(get(&client, &quiet).await, token);
}

// E7: a source that is used counts as use, and survives being dropped from the cache.
#[tokio::test(start_paused = true)]
async fn e7_a_source_keeps_its_token_whatever_the_cache_does() {
    let transport = counting(6_000);
    let client = TokenClient::builder().transport(transport.clone()).capacity(1).build().unwrap();
    let source = client.source(&grant("a", "s", "x"));
    assert_eq!(token(&source).await, "t1");
    get(&client, &grant("b", "s", "x")).await;
    assert_eq!(client.cached_grants(), 1);
    assert_eq!(token(&source).await, "t1");
    assert_eq!(transport.request_count(), 2);
}

// One tenant's trouble is its own.
#[tokio::test(start_paused = true)]
async fn a_tenant_whose_secret_is_wrong_fails_alone() {
    let transport = ScriptedTransport::from_fn(|request| {
        if request.uri().host() == Some("bad.test") {
            refused(401, "invalid_client")
        } else {
            granted("t", 600)
        }
    });
    let client = client(&transport);
    assert!(client.token(&grant("bad", "s", "x")).await.is_err());
    assert_eq!(get(&client, &grant("good", "s", "x")).await, "t");
}

#[tokio::test(start_paused = true)]
async fn addresses_that_tenants_have_named_can_be_held_to_public_ones() {
    let transport = counting(600);
    for public in [false, true] {
        let builder = TokenClient::builder().transport(transport.clone());
        let builder = if public { builder.public_addresses_only() } else { builder };
        builder.build().unwrap().token(&scripted_grant().build().unwrap()).await.unwrap();
        let requests = transport.requests();
        let limits = requests.last().unwrap().extensions().get::<tower_bearer::transport::Limits>();
        assert_eq!(limits.unwrap().public_addresses_only, public);
    }
}

// E7: a source that is in use is in use, though nobody asks the client for it any more.
#[tokio::test(start_paused = true)]
async fn e7_what_is_used_by_its_source_is_not_dropped() {
    let transport = counting(6_000);
    let client = TokenClient::builder().transport(transport.clone()).capacity(2).build().unwrap();
    let grant = |scope: &str| scripted_grant().scope(scope).build().unwrap();
    let (used, unused) = (client.source(&grant("used")), grant("unused"));
    assert_eq!(token(&used).await, "t1");
    advance(SECOND).await;
    assert_eq!(client.token(&unused).await.unwrap().expose_secret(), "t2");
    advance(SECOND).await;
    token(&used).await;
    advance(SECOND).await;
    assert_eq!(client.token(&grant("third")).await.unwrap().expose_secret(), "t3");
    assert_eq!(client.token(&grant("used")).await.unwrap().expose_secret(), "t1");
    assert_eq!(client.token(&unused).await.unwrap().expose_secret(), "t4");
}
