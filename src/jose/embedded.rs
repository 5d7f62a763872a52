//! The header of a JWS that contains its own public key as `jwk`, as DPoP proofs do (RFC 9449 §4.2). It is
//! unrelated to the embedded issuer of `testing`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};

use crate::digest::{Digest, sha256};
use crate::jose::alg::Algorithm;
use crate::jose::backend::choice::Backend;
use crate::jose::compact::decode_segment;
use crate::jose::header::media_type;
use crate::jose::key::VerificationKey;
use crate::jose::key_type::KeyType;
use crate::jose::material::Material;
use crate::jose::members::{Members, ReadMembers};
use crate::json::{Any, Budget, Names, Texts, Value, read_object};

/// The largest RSA modulus, since any client may choose the key.
const MAX_RSA_BYTES: usize = 4_096 / 8;

/// The header of a JWS that contains the key it is signed with.
pub(crate) struct KeyedHeader<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) jwk: PublicJwk<'a>,
}

/// A public key as its owner wrote it (RFC 7517 §4), of a type that can sign. Its numbers aren't decoded yet.
pub(crate) struct PublicJwk<'a> {
    key_type: KeyType,
    /// `x` of a curve, `n` of RSA, `pub` of ML-DSA: only characters of base64url.
    first: Cow<'a, str>,
    /// `y` of a curve, `e` of RSA.
    second: Option<Cow<'a, str>>,
}

impl<'a> KeyedHeader<'a> {
    /// Reads a decoded header whose `typ` must be this media type, without `application/`.
    ///
    /// `kid`, `jku`, `x5u`, `x5c` and `x5t` are never read, here or in `jwk`.
    ///
    /// # Errors
    ///
    /// The rule that the header breaks.
    pub(crate) fn parse(json: &'a [u8], typ: &str) -> Result<Self, &'static str> {
        let budget = Budget::new();
        let raw = read_object(json, HeaderVisitor(&budget))
            .map_err(|_| "the header isn't a JSON object, or has a name twice")?;
        if raw.refused {
            return Err("the header has crit, b64 or enc");
        }
        let said = raw.typ.and_then(Value::into_text).ok_or("typ isn't a string")?;
        if !media_type(&said).eq_ignore_ascii_case(typ) {
            return Err("typ is another one");
        }
        let alg = raw.alg.and_then(Value::into_text).ok_or("alg isn't a string")?;
        let algorithm = Algorithm::from_name(&alg).ok_or("alg is unknown")?;
        let jwk = raw.jwk.ok_or("jwk is absent")?.read(&alg, algorithm)?;
        Ok(Self { algorithm, jwk })
    }
}

impl PublicJwk<'_> {
    /// Returns the SHA-256 thumbprint (RFC 7638 §3): of the required members only, in the order of
    /// their names, with their values as they were written.
    pub(crate) fn thumbprint(&self) -> Digest {
        let kty = self.key_type.kty().as_bytes();
        let (first, second) = (self.first.as_bytes(), self.second.as_deref().unwrap_or_default());
        if let Some(set) = self.key_type.parameter_set() {
            return sha256([
                b"{\"alg\":\"",
                set.as_bytes(),
                b"\",\"kty\":\"",
                kty,
                b"\",\"pub\":\"",
                first,
                b"\"}",
            ]);
        }
        match (self.key_type.crv(), &self.second) {
            (None, _) => sha256([
                b"{\"e\":\"",
                second.as_bytes(),
                b"\",\"kty\":\"",
                kty,
                b"\",\"n\":\"",
                first,
                b"\"}",
            ]),
            (Some(crv), y) => {
                let y: [&[u8]; 3] = match y {
                    Some(y) => [b"\",\"y\":\"", y.as_bytes(), b"\"}"],
                    None => [b"\"}", b"", b""],
                };
                let [y_name, y_value, end] = y;
                sha256([
                    b"{\"crv\":\"",
                    crv.as_bytes(),
                    b"\",\"kty\":\"",
                    kty,
                    b"\",\"x\":\"",
                    first,
                    y_name,
                    y_value,
                    end,
                ])
            }
        }
    }

    /// Reads the key's numbers and makes it ready to verify with this algorithm.
    pub(crate) fn key(
        &self,
        algorithm: Algorithm,
        backend: Backend,
    ) -> Result<VerificationKey, &'static str> {
        const NO_KEY: &str = "jwk isn't a valid key of sufficient strength";
        let first = decode_segment(self.first.as_bytes()).map_err(|_| NO_KEY)?;
        let second = match &self.second {
            Some(second) => decode_segment(second.as_bytes()).map_err(|_| NO_KEY)?,
            None => Vec::new(),
        };
        let width = self.key_type.coordinate_bytes();
        let material = match self.key_type {
            KeyType::Rsa => {
                let minimal = |n: &[u8]| n.first().is_some_and(|first| *first != 0);
                if !minimal(&first) || !minimal(&second) || first.len() > MAX_RSA_BYTES {
                    return Err(NO_KEY);
                }
                Material::Rsa { n: first.into(), e: second.into() }
            }
            KeyType::Ed25519 => Material::Ed25519 { x: first.try_into().map_err(|_| NO_KEY)? },
            set @ (KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87) => {
                Material::MlDsa { set, public: first.into() }
            }
            curve @ (KeyType::P256 | KeyType::P384 | KeyType::P521) => {
                if first.len() != width || second.len() != width {
                    return Err(NO_KEY);
                }
                let point = [&[4], first.as_slice(), second.as_slice()].concat().into();
                Material::Ec { curve, point }
            }
        };
        VerificationKey::new(None, Some(algorithm), material, backend).map_err(|_| NO_KEY)
    }
}

#[derive(Default)]
struct RawHeader<'a> {
    alg: Option<Value<'a>>,
    typ: Option<Value<'a>>,
    jwk: Option<Members<'a>>,
    /// A parameter changes how the header must be read.
    refused: bool,
}

struct HeaderVisitor<'b>(&'b Budget);

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = RawHeader<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut header = RawHeader::default();
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.0)? {
            match name.as_ref() {
                "alg" => header.alg = Some(map.next_value_seed(Any::keep(self.0))?),
                "typ" => header.typ = Some(map.next_value_seed(Any::keep(self.0))?),
                "jwk" => {
                    let reader = ReadMembers { budget: self.0, null_is_absent: false };
                    header.jwk = Some(map.next_value_seed(reader)?);
                }
                other => {
                    let value = map.next_value_seed(Any::keep(self.0))?;
                    // RFC 7797 §3: `true` is the default, written out.
                    header.refused |= matches!(other, "crit" | "enc")
                        || (other == "b64" && value != Value::Bool(true));
                }
            }
        }
        Ok(header)
    }
}

impl<'a> Members<'a> {
    fn read(self, alg: &str, algorithm: Algorithm) -> Result<PublicJwk<'a>, &'static str> {
        if self.private || self.symmetric {
            return Err("jwk has a private or symmetric key");
        }
        let is = |value: &Option<Value<'_>>, expected: &str| match value {
            None => true,
            Some(Value::Text(text)) => text == expected,
            Some(_) => false,
        };
        // Of the two names of Ed25519, the key may have the other one.
        let same = is(&self.alg, alg) || is(&self.alg, algorithm.name());
        let verifies = |operations: &Texts<'_>| operations.iter().any(|it| it == "verify");
        let for_this = match &self.key_ops {
            None => true,
            Some(Value::Array(Some(operations))) => verifies(operations),
            Some(_) => false,
        };
        if !same || !is(&self.r#use, "sig") || !for_this {
            return Err("jwk is for another use, by its alg, use or key_ops");
        }
        let text = |value: Option<Value<'a>>| value.and_then(Value::into_text);
        let kty = text(self.kty).ok_or("jwk has no kty")?;
        let crv = text(self.crv);
        // RFC 9964: `alg` is required of an `AKP` key.
        let set = text(self.alg);
        let key_type = KeyType::of_jwk(&kty, crv.as_deref(), set.as_deref())
            .filter(|found| *found == KeyType::of(algorithm))
            .ok_or("alg and jwk don't match")?;
        let (first, second) = match key_type {
            KeyType::Rsa => (text(self.n), Some(text(self.e))),
            KeyType::Ed25519 => (text(self.x), None),
            KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => (text(self.r#pub), None),
            KeyType::P256 | KeyType::P384 | KeyType::P521 => (text(self.x), Some(text(self.y))),
        };
        const INCOMPLETE: &str = "jwk lacks a member, or one isn't base64url";
        let is_base64url =
            |text: &str| text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it));
        let checked = |value: Option<Cow<'a, str>>| {
            value.filter(|it| !it.is_empty() && is_base64url(it)).ok_or(INCOMPLETE)
        };
        Ok(PublicJwk { key_type, first: checked(first)?, second: second.map(checked).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

    use super::*;

    const EC: &str = r#""kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256""#;
    const ED: &str =
        r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
    const RSA: &str = r#""kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB""#;

    fn parse(json: &str) -> Result<KeyedHeader<'_>, &'static str> {
        KeyedHeader::parse(json.as_bytes(), "dpop+jwt")
    }

    fn header(alg: &str, jwk: &str) -> String {
        format!(r#"{{"typ":"dpop+jwt","alg":"{alg}","jwk":{{{jwk}}}}}"#)
    }

    fn is_good(alg: &str, jwk: &str) -> bool {
        parse(&header(alg, jwk)).is_ok()
    }

    // V3, V4, V5
    #[test]
    fn d34_thumbprints_are_those_of_the_rfcs() {
        for (alg, jwk, thumbprint) in [
            (Algorithm::ES256, EC, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
            (Algorithm::RS256, RSA, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
            (Algorithm::EdDSA, ED, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        ] {
            // White space, other members and their order don't matter.
            for jwk in [jwk.to_owned(), format!(r#" "kid" : "k", "ext":true, {jwk} , "x5c":[]"#)] {
                let json = header(alg.name(), &jwk);
                let header = parse(&json).unwrap();
                assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(header.jwk.thumbprint()), thumbprint);
            }
        }
    }

    // RFC 9964's examples: their `kid` is the thumbprint.
    #[test]
    fn d34_thumbprints_of_ml_dsa_keys_are_those_of_the_rfc() {
        let vectors = include_str!("../../fixtures/vectors/rfc_vectors.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let of_this_kind = |it: &&serde_json::Value| it["jwk"]["kty"] == "AKP";
        let mut seen = 0;
        for vector in vectors["vectors"].as_array().unwrap().iter().filter(of_this_kind) {
            let (jwk, alg) = (&vector["jwk"], vector["alg"].as_str().unwrap());
            let json = format!(r#"{{"typ":"dpop+jwt","alg":"{alg}","jwk":{jwk}}}"#);
            let thumbprint = parse(&json).unwrap().jwk.thumbprint();
            assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(thumbprint), jwk["kid"].as_str().unwrap());
            // `alg` is required, and is no other one.
            for other in [
                json.replacen(r#""alg":"ML"#, r#""alh":"ML"#, 2),
                json.replacen("ML-DSA-", "ML-DSB-", 1),
            ] {
                assert!(parse(&other).is_err());
            }
            seen += 1;
        }
        assert_eq!(seen, 3);
    }

    #[test]
    fn d34_a_leading_zero_stays_in_the_thumbprint() {
        let zero = EC.replace("9VE4", "AFE4");
        let short = EC.replace("9VE4", "UTg");
        let thumbprint = |jwk: &str| parse(&header("ES256", jwk)).unwrap().jwk.thumbprint();
        assert_ne!(thumbprint(&zero), thumbprint(&short));
    }

    #[test]
    fn d25_the_type_is_that_of_a_proof() {
        for (typ, good) in [
            (r#""dpop+jwt""#, true),
            (r#""DPoP+JWT""#, true),
            (r#""application/dpop+jwt""#, true),
            (r#""JWT""#, false),
            (r#""at+jwt""#, false),
            (r#""text/dpop+jwt""#, false),
            (r#""dpop+jwt ""#, false),
            (r#""""#, false),
            ("null", false),
            ("1", false),
        ] {
            let json = format!(r#"{{"typ":{typ},"alg":"ES256","jwk":{{{EC}}}}}"#);
            assert_eq!(parse(&json).is_ok(), good, "{typ}");
        }
        assert!(parse(&format!(r#"{{"alg":"ES256","jwk":{{{EC}}}}}"#)).is_err());
    }

    #[test]
    fn d26_d27_the_algorithm_is_asymmetric_and_fits_the_key() {
        for (alg, jwk, good) in [
            ("ES256", EC, true),
            ("EdDSA", ED, true),
            ("Ed25519", ED, true),
            ("RS256", RSA, true),
            ("PS256", RSA, true),
            ("ES384", EC, false),
            ("ES256", ED, false),
            ("ES256", RSA, false),
            ("RS256", EC, false),
            ("EdDSA", EC, false),
            ("none", EC, false),
            ("None", EC, false),
            ("HS256", EC, false),
            ("ES256K", EC, false),
            ("es256", EC, false),
            ("", EC, false),
        ] {
            assert_eq!(is_good(alg, jwk), good, "{alg}");
        }
        assert!(!is_good("ES256", &EC.replace("P-256", "P-384")));
        assert!(!is_good("ES256", &EC.replace("P-256", "secp256k1")));
        assert!(!is_good("EdDSA", &ED.replace("Ed25519", "Ed448")));
    }

    #[test]
    fn d29_a_private_or_symmetric_key_is_refused() {
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            for value in ["\"AQ\"", "null", "[]"] {
                assert!(!is_good("ES256", &format!(r#"{EC},"{name}":{value}"#)), "{name} {value}");
            }
        }
        assert!(!is_good("HS256", r#""kty":"oct","k":"AAAA""#));
        assert!(is_good("ES256", &format!(r#"{EC},"ext":true"#)));
        for json in [
            format!(
                r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":"{{{}}}"}}"#,
                EC.replace('"', "\\\"")
            ),
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":null}"#.to_owned(),
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":[]}"#.to_owned(),
            r#"{"typ":"dpop+jwt","alg":"ES256"}"#.to_owned(),
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{}}"#.to_owned(),
        ] {
            assert!(parse(&json).is_err(), "{json}");
        }
    }

    #[test]
    fn d30_what_the_key_says_of_its_use_holds() {
        for (more, good) in [
            (r#""alg":"ES256""#, true),
            (r#""alg":"ES384""#, false),
            (r#""alg":null"#, false),
            (r#""use":"sig""#, true),
            (r#""use":"enc""#, false),
            (r#""use":1"#, false),
            (r#""key_ops":["verify"]"#, true),
            (r#""key_ops":["sign","verify"]"#, true),
            (r#""key_ops":["sign"]"#, false),
            (r#""key_ops":[]"#, false),
            (r#""key_ops":"verify""#, false),
        ] {
            assert_eq!(is_good("ES256", &format!("{EC},{more}")), good, "{more}");
        }
        assert!(is_good("Ed25519", &format!(r#"{ED},"alg":"EdDSA""#)));
    }

    #[test]
    fn d32_d33_extensions_and_duplicates_are_refused() {
        for (more, good) in [
            (r#""b64":true"#, true),
            (r#""b64":false"#, false),
            (r#""crit":["b64"],"b64":true"#, false),
            (r#""crit":[]"#, false),
            (r#""enc":"A128GCM""#, false),
            (r#""kid":"k","jku":"https://evil.example","x5c":["AA"]"#, true),
            (r#""alg":"ES256""#, false),
            (r#""a":1,"a":1"#, false),
            (r#""a":{"b":1,"b":2}"#, false),
            (r#""$serde_json::private::RawValue":"1""#, false),
        ] {
            let json = header("ES256", EC);
            let json = format!("{},{more}}}", json.strip_suffix('}').unwrap());
            assert_eq!(parse(&json).is_ok(), good, "{more}");
        }
        assert!(!is_good("ES256", &format!(r#"{EC},"kty":"EC""#)));
        assert!(!is_good("ES256", &format!(r#"{EC},"kid":"a","kid":"a""#)));
    }

    #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
    #[test]
    fn d28_a_key_is_strong_enough_and_on_its_curve() {
        let usable = |algorithm: Algorithm, jwk: &str| {
            let json = header(algorithm.name(), jwk);
            let backend = Backend::preferred().unwrap();
            parse(&json).is_ok_and(|header| header.jwk.key(algorithm, backend).is_ok())
        };
        let rsa = |bits: usize, e: &str| {
            let mut n = vec![0xff; bits / 8];
            if let Some(last) = n.last_mut() {
                *last = 0xf1;
            }
            format!(r#""kty":"RSA","n":"{}","e":"{e}""#, BASE64_URL_SAFE_NO_PAD.encode(n))
        };
        assert!(usable(Algorithm::ES256, EC));
        assert!(usable(Algorithm::EdDSA, ED));
        assert!(usable(Algorithm::RS256, RSA));
        assert!(usable(Algorithm::PS256, &rsa(4_096, "AQAB")));
        for (algorithm, jwk) in [
            (Algorithm::ES256, EC.replace("9VE4", "9VE5")),
            (Algorithm::ES256, EC.replace("9VE4jf", "9V")),
            (Algorithm::ES256, EC.replace(r#""y":"#, r#""z":"#)),
            (Algorithm::EdDSA, ED.replace("11qY", "")),
            (Algorithm::RS256, rsa(1_024, "AQAB")),
            (Algorithm::RS256, rsa(2_040, "AQAB")),
            (Algorithm::RS256, rsa(4_104, "AQAB")),
            (Algorithm::RS256, rsa(8_192, "AQAB")),
            (Algorithm::RS256, rsa(2_048, "AQ")),
            (Algorithm::RS256, rsa(2_048, "Ag")),
            (Algorithm::RS256, rsa(2_048, "AQAAAAE")),
            (Algorithm::RS256, RSA.replace(r#""e":"AQAB""#, r#""e":"AAEAAQ""#)),
            (Algorithm::RS256, RSA.replace(r#""e":"AQAB""#, r#""e":"AQAB=""#)),
        ] {
            assert!(!usable(algorithm, &jwk), "{algorithm} {jwk}");
        }
    }
}
