//! Each row of `fixtures/mtls/fields.json`: what a proxy sends, and what it comes to.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, Engine as _};
use serde::Deserialize;
use tower_bearer::mtls::ClientCertHeader;

use crate::service::{PROXY, Vector, World, behind, from, vectors, verdict};
use crate::world::send;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    name: String,
    preset: String,
    fields: Vec<String>,
    expect: String,
    #[serde(default)]
    note: Option<String>,
}

/// The header of a preset, and its name.
pub(crate) fn preset(name: &str) -> (ClientCertHeader, &'static str) {
    match name {
        "rfc9440" => (ClientCertHeader::rfc9440(), "client-cert"),
        "envoy" => (ClientCertHeader::envoy(), "x-forwarded-client-cert"),
        "envoy_appended" => (ClientCertHeader::envoy_appended(), "x-forwarded-client-cert"),
        "nginx" => (ClientCertHeader::nginx("X-SSL-Client-Cert"), "x-ssl-client-cert"),
        "alb" => (ClientCertHeader::alb(), "x-amzn-mtls-clientcert-leaf"),
        "base64_der" => (ClientCertHeader::base64_der("X-SSL-Client-DER"), "x-ssl-client-der"),
        other => panic!("{other}"),
    }
}

/// Encodes all but letters, digits and those.
fn escaped(text: &str, safe: &str) -> String {
    let encode = |byte: u8| match char::from(byte) {
        char if char.is_ascii_alphanumeric() || safe.contains(char) => char.to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

pub(crate) fn escaped_pem(certificate: &Vector) -> String {
    escaped(&certificate.pem(), "-._~")
}

pub(crate) fn alb_pem(certificate: &Vector) -> String {
    escaped(&certificate.pem(), "-._~+=/")
}

fn filled(field: &str, own: &Vector, other: &Vector) -> String {
    let base64 = |der: Vec<u8>| BASE64_STANDARD.encode(der);
    let der = own.decoded();
    let (longer, shorter) = ([&der, &[0][..]].concat(), der[..der.len() - 1].to_vec());
    let huge = [&[0x30, 0x82, 0x20, 0x00][..], &[5; 0x2000]].concat();
    let pem = own.pem();
    // Those whose names begin like others come first.
    [
        ("$BASE64URL", BASE64_URL_SAFE.encode(&der)),
        ("$BASE64", own.der.clone()),
        ("$OTHER_BASE64", other.der.clone()),
        ("$UNPADDED", own.der.trim_end_matches('=').to_owned()),
        ("$LONGER", base64(longer)),
        ("$SHORTER", base64(shorter)),
        ("$DOUBLED", base64([&*der, &*der].concat())),
        ("$HUGE", base64(huge)),
        ("$UPPER_HEX", own.sha256.to_uppercase()),
        ("$SHORT_HEX", own.sha256[1..].to_owned()),
        ("$OTHER_HEX", other.sha256.clone()),
        ("$HEX", own.sha256.clone()),
        ("$THUMBPRINT", own.thumbprint.clone()),
        ("$SHA1", own.sha1.clone()),
        ("$ESCAPED_PEM", escaped_pem(own)),
        ("$OTHER_ESCAPED_PEM", escaped_pem(other)),
        ("$ALB_PEM", alb_pem(own)),
        ("$OTHER_ALB_PEM", alb_pem(other)),
        ("$SPACED_PEM", alb_pem(own).replace('+', " ")),
        ("$CRLF_PEM", escaped(&pem.replace('\n', "\r\n"), "-._~")),
        ("$LABELLED_PEM", escaped(&pem.replace("CERTIFICATE", "PUBLIC KEY"), "-._~")),
        ("$ENDLESS_PEM", escaped(pem.split("-----END").next().unwrap(), "-._~")),
    ]
    .iter()
    .fold(field.to_owned(), |field, (name, value)| field.replace(name, value))
}

#[tokio::test]
async fn mt17_to_mt26_every_row_of_the_fixture() {
    let rows: Vec<Row> =
        serde_json::from_str(include_str!("../../fixtures/mtls/fields.json")).unwrap();
    let world = World::new();
    let [own, other] = vectors();
    assert!(own.der.contains('+') && own.der.contains('/'), "MT24 needs both");
    let token = world.bound(&own);
    let mut wrong = Vec::new();
    for row in &rows {
        let (header, name) = preset(&row.preset);
        let service = world.service(behind(header));
        let fields: Vec<_> = row.fields.iter().map(|it| filled(it, &own, &other)).collect();
        assert!(!fields.concat().contains('$') || row.name.contains('$'), "{}", row.name);
        let fields: Vec<_> = fields.iter().map(|value| (name, value.as_str())).collect();
        let answer = send(&service, from(PROXY, &token, &fields)).await;
        let status = if row.expect == "accepted" { 200 } else { 401 };
        let said = answer.refusal().map(ToString::to_string).unwrap_or_default();
        let note = row.note.as_deref().unwrap_or_default();
        if (answer.status(), verdict(&answer)) != (status, &*row.expect) || !said.contains(note) {
            let at = format!("{} {} {:?}", row.id, row.preset, row.name);
            wrong.push(format!("{at}: {} {said}", verdict(&answer)));
        }
        // Nothing of the field is said to anybody.
        for (_, value) in fields.iter().filter(|(_, value)| value.len() > 20) {
            assert!(!said.contains(value) && !answer.body().contains(value), "{}", row.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for preset in ["rfc9440", "envoy", "envoy_appended", "nginx", "alb", "base64_der"] {
        let of_it = || rows.iter().filter(|row| row.preset == preset);
        assert!(of_it().any(|row| row.expect == "accepted"), "{preset} has no harmless twin");
        assert!(of_it().any(|row| row.expect == "certificate_mismatch"), "{preset}");
    }
}

#[tokio::test]
async fn mt26_a_field_of_more_than_64_kib_is_not_read() {
    let world = World::new();
    let [own, other] = vectors();
    let service = world.service(behind(ClientCertHeader::envoy()));
    for (padding, expected) in [(60_000, "accepted"), (66_000, "certificate_malformed")] {
        let field = format!("Hash={};Subject=\"{}\"", own.sha256, "x".repeat(padding));
        let fields = [("x-forwarded-client-cert", &*field)];
        let answer = send(&service, from(PROXY, &world.bound(&own), &fields)).await;
        assert_eq!(verdict(&answer), expected);
        let answer = send(&service, from(PROXY, &world.bound(&other), &fields)).await;
        assert_eq!(answer.status(), 401);
    }
}
