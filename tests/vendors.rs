//! The tokens and key sets of `fixtures/vendors`: accepted or refused as they should be, with the
//! setting that it takes.
#![cfg(all(feature = "test-util", feature = "aws-lc-rs"))]

#[path = "support/explained.rs"]
mod explained;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::task::Poll;

use serde_json::{Map, Value, json};
use tower_bearer::issuers::Issuer;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{ManualClock, TestKey};
use tower_bearer::token::{ClientIdSource, ScopeSource};
use tower_bearer::{AccessToken, ConfigError, RequiredClaim, UnixTime, Validator};

const NOW: i64 = 1_800_000_000;

fn key(algorithm: Algorithm) -> &'static TestKey {
    static RSA: OnceLock<TestKey> = OnceLock::new();
    static EC: OnceLock<TestKey> = OnceLock::new();
    match algorithm {
        Algorithm::RS256 => RSA.get_or_init(|| TestKey::generate(algorithm)),
        Algorithm::ES256 => EC.get_or_init(|| TestKey::generate(algorithm)),
        other => panic!("no vendor signs with {other}"),
    }
}

/// Puts the members of one object over those of another; `null` takes one out.
fn overlay(under: &Value, over: Option<&Value>) -> Value {
    let mut members = under.as_object().cloned().unwrap_or_default();
    for (name, value) in over.and_then(Value::as_object).into_iter().flatten() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    members.into()
}

/// Puts times in place of `<now+300>`.
fn with_times(value: &mut Value) {
    match value {
        Value::String(text) => {
            let inner = text.strip_prefix("<now").and_then(|rest| rest.strip_suffix('>'));
            if let Some(offset) = inner {
                let offset: i64 = if offset.is_empty() { 0 } else { offset.parse().unwrap() };
                *value = (NOW + offset).into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(with_times),
        Value::Object(members) => members.values_mut().for_each(with_times),
        _ => {}
    }
}

/// A row with what it takes over from the one that it is like.
fn resolved(row: &Value, rows: &[Value]) -> Value {
    let Some(like) = row["like"].as_str() else { return row.clone() };
    let base = rows.iter().find(|row| row["name"] == like);
    let base = base.unwrap_or_else(|| panic!("no row {like:?}"));
    let mut row = row.clone();
    for part in ["header", "claims", "jwk", "settings"] {
        row[part] = overlay(&base[part], row.get(part));
    }
    row
}

fn scope_source(name: &str) -> Result<ScopeSource, ConfigError> {
    Ok(match name.split_once(':').unwrap_or((name, "")) {
        ("okta", _) => ScopeSource::okta(),
        ("entra", _) => ScopeSource::entra(),
        ("auth0_permissions", _) => ScopeSource::auth0_permissions(),
        ("keycloak_realm_roles", _) => ScopeSource::keycloak_realm_roles(),
        ("keycloak_client_roles", client) => ScopeSource::keycloak_client_roles(client),
        ("zitadel_roles", _) => ScopeSource::zitadel_roles(),
        ("zitadel_project_roles", project) => ScopeSource::zitadel_project_roles(project),
        ("claim", claim) => ScopeSource::claim(claim)?,
        other => panic!("{other:?}"),
    })
}

fn client_id_source(name: &str) -> Result<ClientIdSource, ConfigError> {
    Ok(match name.split_once(':').unwrap_or((name, "")) {
        ("rfc9068", _) => ClientIdSource::rfc9068(),
        ("keycloak", _) => ClientIdSource::keycloak(),
        ("auth0", _) => ClientIdSource::auth0(),
        ("okta", _) => ClientIdSource::okta(),
        ("entra", _) => ClientIdSource::entra(),
        ("adfs", _) => ClientIdSource::adfs(),
        ("google", _) => ClientIdSource::google(),
        ("subject", _) => ClientIdSource::subject(),
        ("claims", claims) => ClientIdSource::claims(claims.split(','))?,
        other => panic!("{other:?}"),
    })
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap())
}

type Claims = Map<String, Value>;

fn validator(settings: &Value, set: &str) -> Result<Validator<Claims>, ConfigError> {
    let known = [
        "issuer",
        "also_issuer",
        "audience",
        "scope_source",
        "client_id_source",
        "clients_without_audience",
        "rfc9068",
        "require_client_id",
        "svid",
        "preset",
        "tenants",
    ];
    for name in settings.as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "no setting {name}");
    }
    let text = |name: &str| settings[name].as_str();
    let audience = text("audience").unwrap();
    if settings.get("preset").is_some() {
        return by_preset(settings, set, audience);
    }
    let builder = match text("svid") {
        Some(domain) => {
            let bundle = Jwks::static_spiffe_bundle(domain, set)?;
            Validator::jwt_svid(domain, audience).keys(bundle)
        }
        None => {
            let issuer = text("issuer").unwrap();
            let keys = Jwks::static_set(issuer, set)?;
            Validator::builder(issuer, audience).keys(keys)
        }
    };
    let mut builder = builder.clock(ManualClock::new(UnixTime::from_secs(NOW))).claims();
    for spelling in texts(&settings["also_issuer"]) {
        builder = builder.also_issuer(spelling);
    }
    if let Some(name) = text("scope_source") {
        builder = builder.scope_source(scope_source(name)?);
    }
    if let Some(name) = text("client_id_source") {
        builder = builder.client_id_source(client_id_source(name)?);
    }
    if settings.get("clients_without_audience").is_some() {
        let clients = texts(&settings["clients_without_audience"]);
        builder = builder.dangerous_clients_without_audience(clients);
    }
    if settings["rfc9068"] == true {
        builder = builder.rfc9068();
    } else if settings["require_client_id"] == true {
        builder = builder.require_claim(RequiredClaim::ClientId);
    }
    builder.build()
}

/// The validator of a preset, which says itself who the issuer is and where things are.
fn by_preset(
    settings: &Value,
    set: &str,
    audience: &str,
) -> Result<Validator<Claims>, ConfigError> {
    const V1: &str = "https://sts.windows.net/{tenantid}/";
    const V2: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
    for taken in ["issuer", "also_issuer", "client_id_source", "svid", "rfc9068"] {
        assert!(settings.get(taken).is_none(), "{taken} beside a preset");
    }
    let preset: Vec<&str> = texts(&settings["preset"]).collect();
    let (issuer, name) = match *preset {
        ["entra_v2"] => (Issuer::entra_v2(audience), V2.to_owned()),
        ["entra_v1"] => (Issuer::entra_v1(audience), V1.to_owned()),
        ["entra_tenant", tenant] => {
            (Issuer::entra_tenant(tenant, audience), V2.replace("{tenantid}", tenant))
        }
        ["keycloak", server, realm] => {
            (Issuer::keycloak(server, realm, audience), format!("{server}/realms/{realm}"))
        }
        ["cognito", region, pool] => {
            let name = format!("https://cognito-idp.{region}.amazonaws.com/{pool}");
            (Issuer::cognito(region, pool, audience), name)
        }
        ["auth0", domain] => (Issuer::auth0(domain, audience), format!("https://{domain}/")),
        ref other => panic!("{other:?}"),
    };
    let mut issuer = issuer.keys(Jwks::static_set(name, set)?);
    if settings.get("tenants").is_some() {
        issuer = issuer.allow_tenants(texts(&settings["tenants"]));
    }
    if let Some(name) = settings["scope_source"].as_str() {
        issuer = issuer.scope_source(scope_source(name)?);
    }
    if settings.get("clients_without_audience").is_some() {
        let clients = texts(&settings["clients_without_audience"]);
        issuer = issuer.dangerous_clients_without_audience(clients);
    }
    if settings["require_client_id"] == true {
        issuer = issuer.require_claim(RequiredClaim::ClientId);
    }
    let clock = ManualClock::new(UnixTime::from_secs(NOW));
    Validator::issuers([issuer]).clock(clock).claims().build()
}

fn check(row: &Value) -> Result<AccessToken<Claims>, String> {
    let header = &row["header"];
    let algorithm = Algorithm::from_name(header["alg"].as_str().unwrap()).unwrap();
    let key = key(algorithm);
    let mut numbers = key.public_jwk();
    for given_by_the_row in ["use", "alg"] {
        numbers.as_object_mut().unwrap().remove(given_by_the_row);
    }
    numbers["kid"] = header["kid"].clone();
    let set = json!({ "keys": [overlay(&numbers, row.get("jwk"))] }).to_string();
    let validator = validator(&row["settings"], &set).map_err(|_| "invalid_config".to_owned())?;
    let mut claims = row["claims"].clone();
    with_times(&mut claims);
    let token = key.sign(header.to_string(), claims.to_string());
    match tokio_test::task::spawn(validator.validate(&token)).poll() {
        Poll::Ready(checked) => {
            let explained = tokio_test::task::spawn(validator.explain(&token)).poll();
            let Poll::Ready(explanation) = explained else { panic!("nothing waits here either") };
            if let Some(what) = explained::disagreement(&explanation, &checked) {
                return Err(what);
            }
            checked.map_err(|refusal| refusal.code().to_owned())
        }
        Poll::Pending => panic!("with keys at hand, nothing waits"),
    }
}

fn wrong_with(row: &Value) -> Option<String> {
    let expected = row["expect"].as_str().unwrap();
    let token = match check(row) {
        Ok(token) if expected == "accepted" => token,
        Ok(_) => return Some(format!("accepted, expected {expected}")),
        Err(code) => return (code != expected).then(|| format!("{code}, expected {expected}")),
    };
    let scopes = token.scopes().to_string();
    for (what, found) in [
        ("scopes", Some(&*scopes)),
        ("client_id", token.client_id()),
        ("issuer", Some(token.issuer())),
    ] {
        if let Some(expected) = row.get(what)
            && expected.as_str() != found
        {
            return Some(format!("{what} {found:?}, expected {expected}"));
        }
    }
    None
}

fn files() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/vendors");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let json = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let vendor = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (vendor, serde_json::from_str(&text).unwrap())
    })
    .collect()
}

fn run(vendor: &str) {
    let files = files();
    let rows = files[vendor]["rows"].as_array().unwrap();
    let mut wrong = Vec::new();
    for row in rows {
        let row = resolved(row, rows);
        wrong.extend(wrong_with(&row).map(|what| format!("{}: {what}", row["name"])));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

macro_rules! vendors {
    ($($test:ident $vendor:literal)+) => {
        $(#[test]
        fn $test() {
            run($vendor);
        })+

        /// Those that have a test.
        const TESTED: &[&str] = &[$($vendor),+];
    };
}

vendors! {
    fb1_fb2_keycloak "keycloak"
    fb8_entra "entra"
    fb8_adfs "adfs"
    fb8_okta "okta"
    fb8_auth0 "auth0"
    fb2_fb8_cognito "cognito"
    fb8_google "google"
    fb8_kubernetes "kubernetes"
    fb8_github_actions "github-actions"
    fb8_spiffe "spiffe"
    fb8_zitadel "zitadel"
    fb1_authentik "authentik"
    fb1_dex "dex"
    fb8_ping "ping"
    fb8_kanidm "kanidm"
    fb8_hydra "hydra"
}

#[test]
fn every_vendor_has_a_test_and_evidence_and_is_both_accepted_and_refused() {
    let files = files();
    let mut tested = TESTED.to_vec();
    tested.sort_unstable();
    assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), tested);
    for (vendor, file) in &files {
        assert!(file["evidence"].as_str().is_some_and(|text| text.len() > 20), "{vendor}");
        let rows = file["rows"].as_array().unwrap();
        let accepted = rows.iter().filter(|row| row["expect"] == "accepted").count();
        assert!(accepted > 0 && accepted < rows.len(), "{vendor}: {accepted} of {}", rows.len());
        let mut names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rows.len(), "{vendor}: a name is there twice");
    }
}
