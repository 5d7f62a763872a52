//! The peers, each as its own documentation sets it up, on its fastest backend, and checking as
//! much as it can. The README says what that is.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use huskarl_axum::layers::ValidatorLayer;
use huskarl_axum::resource_server::core::jwt::JtiUniquenessChecker;
use huskarl_axum::resource_server::validator::rfc9068::Rfc9068Validator;
use serde::Deserialize;
use tower::ServiceBuilder;

use crate::contenders::{Contender, Role, contender, handler, router};
use crate::issuer::{AUDIENCE, Algorithm, Issuer};
use crate::subject::{Served, Subject};

/// What an application reads, where a peer lets it choose.
#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "deserialized for its price")]
struct Claims {
    sub: String,
    client_id: String,
    scope: String,
}

/// Of `jsonwebtoken` 10 and 11, whose users ask for the slower backend or for both of them.
pub(crate) fn install_providers() {
    // A second call finds them installed.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let _ = jsonwebtoken_11::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

pub(crate) async fn all(issuer: &Issuer, tokens: &[String]) -> Vec<Contender> {
    install_providers();
    let served = |name, router: Router| contender(name, Role::Peer, Served::new(router, tokens));
    vec![
        served("axum-jwt-auth", axum_jwt_auth(issuer).await),
        served("tower-oauth2-resource-server", tower_oauth2_resource_server(issuer).await),
        Contender {
            name: "jwt-authorizer",
            role: Role::Peer,
            subject: jwt_authorizer(issuer, tokens).await,
        },
        served("axum-keycloak-auth", axum_keycloak_auth(issuer).await),
        served("oauth-resource-server", oauth_resource_server(issuer).await),
        served("huskarl-axum", huskarl_axum(issuer).await),
    ]
}

/// An extractor; it has no discovery. `jsonwebtoken` 10 takes the backend that the process says.
async fn axum_jwt_auth(issuer: &Issuer) -> Router {
    use axum_jwt_auth::{Claims as Extracted, Decoder, RemoteJwksDecoder};

    let mut validation = jsonwebtoken::Validation::new(match issuer.algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    });
    validation.set_issuer(&[issuer.url()]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    let decoder =
        RemoteJwksDecoder::builder().jwks_url(issuer.jwks_uri()).validation(validation).build();
    let decoder = decoder.expect("a decoder");
    decoder.initialize().await.expect("keys");
    let decoder: Decoder<Claims> = Arc::new(decoder);
    let handler = |_: Extracted<Claims>| handler();
    Router::new().route("/orders", get(handler)).with_state(decoder)
}

async fn tower_oauth2_resource_server(issuer: &Issuer) -> Router {
    use tower_oauth2_resource_server::server::OAuth2ResourceServer;
    use tower_oauth2_resource_server::tenant::TenantConfiguration;

    let tenant = TenantConfiguration::builder(issuer.url()).audiences(&[AUDIENCE]).build().await;
    let tenant = tenant.expect("discovery");
    let server = <OAuth2ResourceServer<Claims>>::builder().add_tenant(tenant).build().await;
    let layer = server.expect("a resource server").into_layer();
    // It fetches its keys in a task.
    tokio::time::sleep(Duration::from_millis(500)).await;
    router().layer(layer)
}

/// Its layer is generic; only its own refusals are axum 0.7's. This is the answer of ours that it
/// can make.
struct Answer(Response);

impl From<jwt_authorizer::AuthError> for Answer {
    fn from(_: jwt_authorizer::AuthError) -> Self {
        Self(StatusCode::UNAUTHORIZED.into_response())
    }
}

async fn jwt_authorizer(issuer: &Issuer, tokens: &[String]) -> Box<dyn Subject> {
    use jwt_authorizer::{IntoLayer, JwtAuthorizer, Validation};

    let validation = Validation::new().iss(&[issuer.url()]).aud(&[AUDIENCE]).nbf(true);
    let authorizer = JwtAuthorizer::<Claims>::from_oidc(&issuer.url()).validation(validation);
    let layer = authorizer.build().await.expect("discovery").into_layer();
    let layer = ServiceBuilder::new()
        .map_response(|Answer(response)| response)
        .layer(layer)
        .map_response(Answer)
        .into_inner();
    Box::new(Served::new(router().layer(layer), tokens))
}

async fn axum_keycloak_auth(issuer: &Issuer) -> Router {
    use axum_keycloak_auth::PassthroughMode;
    use axum_keycloak_auth::instance::{KeycloakAuthInstance, KeycloakConfig};
    use axum_keycloak_auth::layer::KeycloakAuthLayer;

    #[derive(Clone, Deserialize)]
    #[expect(dead_code, reason = "deserialized for its price")]
    struct Extra {
        client_id: String,
        scope: String,
    }

    let server = url::Url::parse(&issuer.server).expect("a URL");
    let config = KeycloakConfig::builder().server(server).realm(issuer.realm.clone()).build();
    let instance = KeycloakAuthInstance::new(config);
    while !instance.is_operational().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let layer = KeycloakAuthLayer::<String, Extra>::builder()
        .instance(instance)
        .passthrough_mode(PassthroughMode::Block)
        .expected_audiences(vec![AUDIENCE.to_owned()])
        .build();
    router().layer(layer)
}

async fn oauth_resource_server(issuer: &Issuer) -> Router {
    use oauth_resource_server::axum::AuthLayer;
    use oauth_resource_server::{KeyNaming, OAuthConfig, OAuthValidator};

    let config = OAuthConfig {
        enabled: true,
        issuer: issuer.url(),
        audience: AUDIENCE.to_owned(),
        resource: AUDIENCE.to_owned(),
        require_at_jwt: true,
        ..OAuthConfig::default()
    };
    let config = config.resolve(KeyNaming::Dotted("oauth")).expect("a configuration");
    let validator = OAuthValidator::new(&config.expect("enabled")).expect("a validator");
    let validator = Arc::new(validator);
    validator.spawn_background_refresh();
    validator.refresh_now().await.expect("keys");
    router().layer(AuthLayer::builder().oauth(validator).build().expect("a layer"))
}

async fn huskarl_axum(issuer: &Issuer) -> Router {
    let validator = huskarl_validator(issuer, None).await;
    let layer = ValidatorLayer::builder().validator(validator).build();
    router().layer(layer.authenticated())
}

/// Takes tokens that are bound to a key without being asked for it; only the record of used proofs
/// must be brought along.
pub(crate) async fn huskarl_validator(
    issuer: &Issuer,
    seen: Option<Arc<dyn JtiUniquenessChecker>>,
) -> Rfc9068Validator {
    use huskarl_axum::resource_server::core::server_metadata::AuthorizationServerMetadata;
    use huskarl_reqwest::ReqwestClient;
    use huskarl_reqwest::mtls::NoMtls;

    let client = ReqwestClient::builder().mtls(NoMtls).build().await.expect("a client");
    let metadata = AuthorizationServerMetadata::fetch()
        .http_client(&client)
        .issuer(issuer.url())
        .call()
        .await
        .expect("discovery");
    Rfc9068Validator::builder_from_metadata(&metadata)
        .audience(AUDIENCE)
        .jwks_source(client)
        .maybe_dpop_jti_checker(seen)
        .build()
        .await
        .expect("keys")
}
