//! The default transport in one runtime after another.
#![cfg(all(feature = "test-util", feature = "reqwest"))]

use std::time::Duration;

use tokio::runtime::Builder;
use tower_bearer::Validator;
use tower_bearer::testing::TestIssuer;

// A connection that is kept for later ends with the runtime that it was made in.
#[test]
fn the_first_request_after_a_rotation_succeeds_in_every_new_runtime() {
    let server = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let issuer = server.block_on(TestIssuer::start()).unwrap();
    let validator = Validator::builder(issuer.issuer(), "api").build().unwrap();
    for round in 0..10 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            if round % 5 == 1 {
                issuer.rotate_overlapping();
            }
            let token = issuer.token().audience("api").sign();
            validator.validate(&token).await.unwrap_or_else(|refusal| panic!("{round} {refusal}"));
            validator.jwks().unwrap().refresh().await.unwrap();
            validator.ready(Duration::from_secs(1)).await.unwrap();
        });
    }
}
