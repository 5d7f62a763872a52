//! Several issuers in one process, on one port.

use std::time::Duration;

use http::StatusCode;
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::Introspection;
use tower_bearer::issuers::Issuer;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{Discovery, Endpoint, Fault, TestClient, TestIssuer};
use tower_bearer::{Refusal, RejectionKind, Validator};

const SOON: Duration = Duration::from_secs(5);

fn kind<T>(told: Result<T, Refusal>) -> Option<RejectionKind> {
    match told {
        Ok(_) => None,
        Err(Refusal::Rejection(rejection)) => Some(rejection.kind()),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn realms_of_one_port_are_issuers_of_their_own() {
    let a = TestIssuer::builder().issuer_path("/realms/a").start().await.unwrap();
    let b = TestIssuer::builder().issuer_path("/realms/b").audience("https://b.test");
    let b = a.add_realm(b.discovery(Discovery::OpenId)).unwrap();
    let root = b.add_realm(TestIssuer::builder()).unwrap();
    let address = a.address();
    assert_eq!(b.issuer(), format!("http://{address}/realms/b"));
    assert_eq!(root.issuer(), format!("http://{address}"));

    // By discovery, each for itself.
    let list = [&a, &b, &root].map(|it| Issuer::new(it.issuer(), it.audience()));
    let validator = Validator::issuers(list).build().unwrap();
    for issuer in [&a, &b, &root] {
        validator.jwks_of(issuer.issuer()).unwrap().ready(SOON).await.unwrap();
        assert_eq!(kind(validator.validate(&issuer.token().sign()).await), None);
        assert_eq!(issuer.counters().requests(Endpoint::Jwks), 1);
    }
    assert_eq!(a.counters().requests(Endpoint::OAuthMetadata), 1);
    assert_eq!(b.counters().requests(Endpoint::OAuthMetadata), 0, "it has the other one");
    let crossed = a.token().claim("iss", b.issuer()).audience(b.audience()).sign();
    assert!(kind(validator.validate(&crossed).await).is_some());
    // Faults and rotations of one are nothing to the others.
    b.inject(Endpoint::Jwks, Fault::status(StatusCode::INTERNAL_SERVER_ERROR));
    root.rotate_hard();
    assert_eq!(kind(validator.validate(&root.token().sign()).await), None);
    assert_eq!(kind(validator.validate(&a.token().sign()).await), None);
    assert!(validator.jwks_of(b.issuer()).unwrap().refresh().await.is_err());
    assert!(validator.jwks_of(a.issuer()).unwrap().refresh().await.is_ok());

    // They stop together.
    b.stop().await;
    assert!(validator.jwks_of(a.issuer()).unwrap().refresh().await.is_err());
    a.restart().await.unwrap();
    assert!(validator.jwks_of(a.issuer()).unwrap().refresh().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn realms_are_reached_without_a_network_and_outlive_the_first_handle() {
    let first = TestIssuer::builder().issuer_path("/realms/a").start().await.unwrap();
    let other = TestClient::secret("me", "other-secret");
    let second = TestIssuer::builder().issuer_path("/realms/b").client(other);
    let second = first.add_realm(second).unwrap();
    let asking = |issuer: &TestIssuer, secret: &str| {
        let client = if secret.is_empty() {
            ClientAuth::basic(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET)
        } else {
            ClientAuth::basic("me", secret)
        };
        let keys = Jwks::discover(issuer.issuer()).transport(first.transport());
        Validator::builder(issuer.issuer(), issuer.audience())
            .keys(keys)
            .introspection(Introspection::discover(client).transport(issuer.transport()))
            .build()
            .unwrap()
    };
    let (one, two) = (asking(&first, ""), asking(&second, "other-secret"));
    let (of_first, of_second) = (first.token().opaque(), second.token().opaque());
    assert_eq!(kind(one.validate(&of_first).await), None);
    assert_eq!(kind(two.validate(&of_second).await), None);
    assert_eq!(kind(one.validate(&of_second).await), Some(RejectionKind::Inactive));
    assert_eq!(kind(two.validate(&of_first).await), Some(RejectionKind::Inactive));
    let wrong = asking(&second, "wrong");
    assert!(matches!(wrong.validate(&of_second).await, Err(Refusal::Unavailable(_))));
    let new = second.token().opaque();
    drop(first);
    assert_eq!(kind(two.validate(&new).await), None);
}

#[tokio::test]
async fn realms_that_cannot_be_added_are_configuration_errors() {
    let issuer = TestIssuer::builder().issuer_path("/realms/a").start().await.unwrap();
    let error = |builder| issuer.add_realm(builder).unwrap_err().to_string();
    let builder = TestIssuer::builder;
    assert!(error(builder().issuer_path("/realms/a")).contains("already"));
    assert!(error(builder().issuer_path("/realms/a/")).contains("already"));
    assert!(error(builder().issuer_path("realms/b")).contains("must start"));
    assert!(error(builder().issuer_path("/b").algorithms([])).contains("at least one algorithm"));
    let own = builder().issuer_path("/b").public_url("http://b.test");
    assert!(error(own).contains("public_url"));
    let own = builder().issuer_path("/b").listen(([127, 0, 0, 1], 9).into());
    assert!(error(own).contains("listen"));
    let second = issuer.add_realm(builder().issuer_path("/realms/b")).unwrap();
    let again = second.add_realm(builder().issuer_path("/realms/b"));
    assert!(again.unwrap_err().to_string().contains("already"));
}
