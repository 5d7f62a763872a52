//! What can't work is found when the validator is built; and what the metadata says.

use tower::Layer as _;
use tower_bearer::mtls::{ClientCertHeader, Mtls};
use tower_bearer::{BearerAuthLayer, ConfigError};

use crate::service::{World, address, behind, from_connection};
use crate::world::{get, send};

fn error(mtls: Mtls) -> String {
    World::new().builder().mtls(mtls).build().unwrap_err().to_string()
}

#[test]
fn mt14_mt15_settings_that_trust_everybody_or_nobody_are_refused() {
    let header = ClientCertHeader::rfc9440;
    for (networks, why) in [
        (&["proxy"][..], "\"proxy\" is no IP address"),
        (&["10.0.0.1", ""], "\"\" is no IP address"),
        (&["0.0.0.0/0"], "are every address"),
        (&["10.0.0.7/24"], "bits beyond its prefix"),
    ] {
        let error = Mtls::from_header(header()).trusted_proxies(networks, address).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let nobody = Mtls::from_header(header()).trusted_proxies([""; 0], address).unwrap();
    let of_connection = from_connection().trusted_proxies(["10.0.0.7"], address).unwrap();
    for (mtls, why) in [
        (Mtls::from_header(header()), "say which proxies are trusted"),
        (nobody, "say which proxies are trusted"),
        (from_connection().keep_header(), "are for Mtls::from_header"),
        (of_connection, "are for Mtls::from_header"),
        (behind(ClientCertHeader::nginx("no name")), "isn't the name of a header"),
        (behind(ClientCertHeader::nginx("")), "isn't the name of a header"),
        (
            behind(ClientCertHeader::base64_der("Authorization")),
            "authorization, which has another purpose",
        ),
        (behind(ClientCertHeader::base64_der("DPoP")), "dpop, which has another purpose"),
    ] {
        let error = error(mtls);
        assert!(error.contains(why), "{error}");
    }
    assert!(World::new().builder().mtls(behind(header())).build().is_ok());
}

#[test]
fn mt4_bound_tokens_cannot_be_required_where_none_is_accepted() {
    let error: ConfigError = World::new().builder().require_bound().build().unwrap_err();
    assert!(error.to_string().contains("give .dpop(…) or .mtls(…)"), "{error}");
    assert!(World::new().builder().mtls(from_connection()).require_bound().build().is_ok());
}

#[tokio::test]
async fn mt12_the_metadata_says_so_only_if_it_is_so() {
    const PATH: &str = "/.well-known/oauth-protected-resource";
    let world = World::new();
    let document = async |validator| {
        let layer = BearerAuthLayer::new(validator).resource("https://api.example").unwrap();
        let answer = send(&layer.layer(world.inner.clone()), get(PATH, &[])).await;
        let document: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
        document.get("tls_client_certificate_bound_access_tokens").cloned()
    };
    assert_eq!(document(world.builder().build().unwrap()).await, None);
    let with = world.builder().mtls(from_connection()).build().unwrap();
    assert_eq!(document(with).await, Some(true.into()));
}

#[test]
fn settings_print_what_is_set() {
    assert_eq!(
        format!("{:?}", from_connection()),
        r#"Mtls { from: "the connection", trusted: [], .. }"#
    );
    let printed = format!("{:?}", behind(ClientCertHeader::nginx("x-cert")));
    assert!(printed.contains("x-cert") && printed.contains("ConnectInfo"), "{printed}");
}
