//! Each file of `fixtures/client`: what a workload of some platform sends for its access token, and what it gets.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use bytes::Bytes;
use http::Request;
use serde::Deserialize;
use serde_json::{Map, Value};
use tower_bearer::client::{
    AssertionType, ClientAuth, Grant, GrantBuilder, TokenClient, TokenExchange, TokenType,
    WorkloadToken,
};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};

use crate::support::*;
use crate::workload::{START, Volume};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    platform: String,
    evidence: String,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    workload: Map<String, Value>,
    asks_for: BTreeMap<String, String>,
    request: Sent,
    answer: Value,
    token: String,
    seconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    uri: String,
    authorization: Option<String>,
    form: BTreeMap<String, String>,
}

impl Fixture {
    fn read(text: &str) -> Self {
        let read: Self = serde_json::from_str(text).unwrap();
        assert!(!read.evidence.is_empty(), "{}", read.platform);
        read
    }

    /// The platform's token, valid at the time of `running_clock`.
    fn workload_token(&self) -> String {
        let mut claims = self.workload.clone();
        for claim in claims.values_mut() {
            let ahead = claim.as_str().and_then(|it| it.strip_prefix("<now+")?.strip_suffix('>'));
            if let Some(ahead) = ahead {
                *claim = (START + ahead.parse::<i64>().unwrap()).into();
            }
        }
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string()))
    }

    /// Builds the grant, asks for a token, and compares what is sent and what comes of it.
    async fn holds(&self, grant: impl FnOnce(&Volume, &str) -> GrantBuilder) {
        let (platform, own) = (&self.platform, self.workload_token());
        let volume = Volume::with(&own);
        let transport = ScriptedTransport::new();
        transport.push(ScriptedAnswer::json(self.answer.to_string()));
        let mut grant = grant(&volume, &self.request.uri);
        for (name, value) in &self.asks_for {
            grant = match &**name {
                "scope" => grant.scope(value),
                "audience" => grant.audience(value),
                other => panic!("{other}"),
            };
        }
        let client = TokenClient::builder().transport(transport.clone()).clock(running_clock());
        let token = client.build().unwrap().token(&grant.build().unwrap()).await.unwrap();
        assert_eq!(token.expose_secret(), self.token, "{platform}");
        assert_eq!(token.remaining(), self.seconds * SECOND, "{platform}");
        let [request] = &*transport.requests() else { panic!("{platform}: one request") };
        assert_eq!(request.uri(), &*self.request.uri, "{platform}");
        let field = request.headers().get("authorization").map(|it| it.to_str().unwrap());
        assert_eq!(field, self.request.authorization.as_deref(), "{platform}");
        let expected: BTreeMap<_, _> = self.request.form.iter().collect();
        let sent = form(request);
        let shown = |value: &String| value.replace(&own, "<token>");
        let sent: BTreeMap<_, _> = sent.iter().map(|(name, value)| (name, shown(value))).collect();
        assert_eq!(
            sent.iter().map(|(name, value)| (*name, value)).collect::<BTreeMap<_, _>>(),
            expected,
            "{platform}"
        );
    }
}

/// The parameters of a request; none is there twice.
fn form(request: &Request<Bytes>) -> BTreeMap<String, String> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().unwrap().into_owned()
    };
    let body = str::from_utf8(request.body()).unwrap();
    let mut form = BTreeMap::new();
    for (name, value) in body.split('&').map(|pair| pair.split_once('=').unwrap()) {
        assert_eq!(form.insert(decode(name), decode(value)), None, "{name} is there twice");
    }
    form
}

// WI6
#[tokio::test(start_paused = true)]
async fn wi6_azures_environment_is_enough() {
    let azure = Fixture::read(include_str!("../../fixtures/client/azure.json"));
    let grant = |volume: &Volume, _: &str| {
        let file = volume.path();
        let variable = |name: &str| Some(azure.environment.get(name)?.replace("<file>", &file));
        Grant::from_azure_vars(variable).unwrap()
    };
    azure.holds(grant).await;
}

// WI7: the exchange has no client.
#[tokio::test(start_paused = true)]
async fn wi7_googles_exchange_has_no_client() {
    let google = Fixture::read(include_str!("../../fixtures/client/google.json"));
    let grant = |volume: &Volume, uri: &str| {
        let exchange = TokenExchange::new()
            .subject_token_type(TokenType::Jwt)
            .requested_token_type(TokenType::AccessToken);
        let token = WorkloadToken::file(volume.path());
        Grant::endpoint(uri, ClientAuth::none("")).token_exchange(token, exchange)
    };
    google.holds(grant).await;
}

// WI8: the client isn't named beside its assertion.
#[tokio::test(start_paused = true)]
async fn wi8_a_svid_says_who_the_client_is() {
    let spiffe = Fixture::read(include_str!("../../fixtures/client/spiffe.json"));
    let id = spiffe.workload["sub"].as_str().unwrap();
    let grant = |volume: &Volume, uri: &str| {
        let token = WorkloadToken::file(volume.path());
        let auth = ClientAuth::workload_as(id, token, AssertionType::JwtSpiffe);
        Grant::endpoint(uri, auth.without_client_id())
    };
    spiffe.holds(grant).await;
}
