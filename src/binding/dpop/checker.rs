//! Checks DPoP proofs in order of cost, and records each one that is accepted (RFC 9449 §4.3).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use crate::binding::dpop::forwarded::Trusted;
use crate::binding::dpop::lifetime::Lifetime;
use crate::binding::dpop::nonce::{NonceKeys, Worth};
use crate::binding::dpop::proof::{Bound, Head, Proof};
use crate::binding::dpop::target::{Origins, Target};
use crate::binding::replay::memory::{Memory, Recorded};
use crate::binding::replay::quota::Quota;
use crate::binding::replay::store::ReplayStore;
use crate::clock::{UnixTime, has_timers};
use crate::digest::{Digest, constant_time_eq, hex, sha256};
use crate::jose::{Algorithm, Backend, KeyedHeader, Scratch};
use crate::progress::{Pending, Progress};
use crate::refusal::{Detail, Refusal, Rejection, RejectionKind, Unavailable, UnavailableReason};
use crate::telemetry::{count, event};

/// Whether tokens that aren't bound to a key are accepted as well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    Accept,
    Require,
}

/// Checks proofs (RFC 9449 §4.3).
pub(crate) struct Checker {
    pub(crate) mode: Mode,
    pub(crate) origins: Origins,
    pub(crate) forwarded: Option<Trusted>,
    pub(crate) algorithms: Box<[Algorithm]>,
    /// Their names, separated by spaces.
    pub(crate) names: Box<str>,
    pub(crate) lifetime: Lifetime,
    pub(crate) nonces: Option<NonceKeys>,
    pub(crate) record: Record,
    pub(crate) backend: Backend,
}

/// Where used proofs are recorded.
pub(crate) enum Record {
    Memory { memory: Memory, quota: Option<Quota> },
    Store { store: Arc<dyn ReplayStore>, prefix: Box<str>, timeout: Duration, fail_open: bool },
    None,
}

/// A proof that passed every check but the record.
struct Good<'a> {
    /// The thumbprint of its key.
    jkt: Cow<'a, str>,
    /// The key under which it is recorded.
    key: Digest,
    /// How long it is remembered.
    until: UnixTime,
}

impl Checker {
    /// Checks the proof of a request, and records it if it passes every check.
    ///
    /// The cheap checks come first, and the signature after everything else that the proof contains, so
    /// that a wrong proof costs none. The record comes last, so that a bad proof never uses a `jti` up.
    pub(crate) fn check(
        self: &Arc<Self>,
        proof: &[u8],
        target: &Target<'_>,
        bound: Bound<'_>,
        now: UnixTime,
    ) -> Progress<()> {
        let good = match self.check_proof(proof, target, Some(bound), now) {
            Ok(good) => good,
            Err(rejection) => return Progress::Ready(Err(rejection.into())),
        };
        match &self.record {
            Record::None => Progress::Ready(Ok(())),
            Record::Memory { memory, quota } => {
                Progress::Ready(good.record(memory, quota.as_ref(), now))
            }
            Record::Store { prefix, .. } => {
                let key = [prefix, &*hex(&good.key)].concat();
                let ttl = good.until.saturating_since(now);
                Progress::Pending(Pending::new(Arc::clone(self).record_in_store(key, ttl)))
            }
        }
    }

    /// Checks the proof of a token request (RFC 9449 §5), and returns the thumbprint of its key.
    #[cfg(feature = "test-util")]
    pub(crate) fn check_token_request(
        &self,
        proof: &[u8],
        target: &Target<'_>,
        now: UnixTime,
    ) -> Result<String, Refusal> {
        let good = self.check_proof(proof, target, None, now)?;
        if let Record::Memory { memory, quota } = &self.record {
            good.record(memory, quota.as_ref(), now)?;
        }
        Ok(good.jkt.into_owned())
    }

    fn check_proof<'a>(
        &self,
        text: &[u8],
        target: &Target<'_>,
        bound: Option<Bound<'a>>,
        now: UnixTime,
    ) -> Result<Good<'a>, Rejection> {
        use RejectionKind as Kind;
        let malformed = |note| refused(Kind::DpopProofMalformed, note);
        let mismatch = |note| refused(Kind::DpopProofMismatch, note);
        // A longer one is refused unread.
        let mut scratch = Scratch::take(if Proof::fits(text) { text.len() } else { 0 });
        let Proof { head, encoded_header, claims, signing_input, signature } =
            Proof::parse(text, bound, scratch.room()).map_err(malformed)?;
        let algorithm = head.algorithm();
        if !self.algorithms.contains(&algorithm) {
            return Err(malformed("alg isn't accepted"));
        }
        if claims.htm != target.method.as_str() {
            return Err(mismatch("htm is another method"));
        }
        self.origins.check(&claims.htu, target).map_err(mismatch)?;
        let out_of_time = |note| refused(Kind::DpopProofOutOfTime, note);
        self.lifetime.check(&claims, now).map_err(out_of_time)?;
        if let Some(bound) = bound {
            let ath = claims.ath.as_deref().ok_or(malformed("ath is absent"))?;
            if !constant_time_eq(bound.proving.ath.as_bytes(), ath.as_bytes()) {
                return Err(mismatch("ath is another token's"));
            }
        }
        let mut new_key = None;
        let (jkt, key) = match &head {
            Head::Known(known, bound) => (Cow::Borrowed(bound.jkt), &known.key),
            Head::New(KeyedHeader { jwk, .. }) => {
                let jkt = BASE64_URL_SAFE_NO_PAD.encode(jwk.thumbprint());
                if bound.is_some_and(|it| !constant_time_eq(jkt.as_bytes(), it.jkt.as_bytes())) {
                    return Err(Kind::DpopKeyMismatch.into());
                }
                let key = jwk.key(algorithm, self.backend).map_err(malformed)?;
                (Cow::Owned(jkt), &*new_key.insert(key))
            }
        };
        if !key.verify(algorithm, signing_input, signature) {
            return Err(Kind::DpopProofBadSignature.into());
        }
        if let Some(nonces) = &self.nonces
            && nonces.worth(claims.nonce.as_deref(), now, self.backend) == Worth::None
        {
            return Err(Kind::DpopNonceRequired.into());
        }
        if let (Some(bound), Some(key)) = (bound, new_key) {
            bound.proving.remember(encoded_header, algorithm, key);
        }
        let key = sha256([jkt.as_bytes(), &[0], claims.jti.as_bytes()]);
        Ok(Good { jkt, key, until: self.lifetime.remembered_until(claims.iat, now) })
    }

    async fn record_in_store(self: Arc<Self>, key: String, ttl: Duration) -> Result<(), Refusal> {
        let Record::Store { store, timeout, fail_open, .. } = &self.record else { return Ok(()) };
        if !has_timers() {
            return Err(unavailable(UnavailableReason::ReplayStoreFailed));
        }
        // A second more: whether a proof is too old is decided in whole seconds.
        let ttl = ttl.saturating_add(Duration::from_secs(1));
        match tokio::time::timeout(*timeout, store.record(&key, ttl)).await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => return Err(RejectionKind::DpopProofReplayed.into()),
            Ok(Err(error)) => {
                count!("tower_bearer_dpop_replay_failures_total", "error" => "failed");
                event!(DEBUG, error = %crate::cause::Report(&error), "dpop_replay_failed");
                let _ = error;
            }
            Err(_) => {
                count!("tower_bearer_dpop_replay_failures_total", "error" => "timeout");
                event!(DEBUG, "dpop_replay_failed: no answer in time");
            }
        }
        if *fail_open { Ok(()) } else { Err(unavailable(UnavailableReason::ReplayStoreFailed)) }
    }

    /// Returns the nonce that a client must use from now on.
    pub(crate) fn newest_nonce(&self, now: UnixTime) -> Option<Box<str>> {
        self.nonces.as_ref()?.newest(now, self.backend)
    }

    /// Returns a newer nonce than that of an accepted proof, if there is one.
    pub(crate) fn newer_nonce(&self, proof: &[u8], now: UnixTime) -> Option<Box<str>> {
        let nonces = self.nonces.as_ref()?;
        let mut scratch = Scratch::take(proof.len());
        let claims = Proof::claims(proof, scratch.room())?;
        match nonces.worth(claims.nonce.as_deref(), now, self.backend) {
            Worth::Newest => None,
            Worth::Older | Worth::None => nonces.newest(now, self.backend),
        }
    }
}

impl Good<'_> {
    fn record(&self, memory: &Memory, quota: Option<&Quota>, now: UnixTime) -> Result<(), Refusal> {
        let places = quota.map(|quota| quota.admit(&self.jkt, now)).transpose();
        let places =
            places.map_err(|wait| Unavailable::new(UnavailableReason::ReplayQuotaUsedUp, wait))?;
        match memory.record(&self.key, self.until, now) {
            Recorded::Fresh => {
                if let (Some(quota), Some(places)) = (quota, &places) {
                    quota.add(places, self.until);
                }
                Ok(())
            }
            Recorded::Seen => Err(RejectionKind::DpopProofReplayed.into()),
            Recorded::Full => Err(unavailable(UnavailableReason::ReplayStoreFull)),
        }
    }
}

fn refused(kind: RejectionKind, note: &'static str) -> Rejection {
    Rejection::with(kind, Detail::Note(note))
}

fn unavailable(reason: UnavailableReason) -> Refusal {
    Unavailable::new(reason, Duration::from_secs(1)).into()
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker")
            .field("mode", &self.mode)
            .field("origins", &self.origins)
            .field("algorithms", &self.names)
            .field("nonces", &self.nonces.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "test-util"))]
#[path = "../../../tests/dpop/rows.rs"]
mod rows;

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::binding::dpop::settings::Dpop;
    use crate::token::Proving;

    const HEADER: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19";
    const TOKEN_PROOF: &str = "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    const PROOF: &str = "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    const TOKEN: &[u8] = b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    const ATH: &str = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";
    const AT: i64 = 1_562_262_618;

    fn accept() -> Dpop {
        Dpop::accept()
            .public_origins(["https://server.example.com", "https://resource.example.org"])
    }

    fn built(dpop: Dpop) -> Checker {
        dpop.build(Backend::preferred().unwrap(), "service").unwrap()
    }

    /// Checks a proof for a request of this method to this URL, at this time.
    fn check<'a>(
        text: &str,
        request: (Method, &str),
        bound: Option<Bound<'a>>,
        at: i64,
    ) -> Result<Good<'a>, Rejection> {
        check_by(&built(accept()), text, request, bound, at)
    }

    fn check_by<'a>(
        checker: &Checker,
        text: &str,
        (method, url): (Method, &str),
        bound: Option<Bound<'a>>,
        at: i64,
    ) -> Result<Good<'a>, Rejection> {
        let (uri, headers) = (url.parse::<Uri>().unwrap(), HeaderMap::new());
        let target = Target::new(&method, &uri, &headers);
        checker.check_proof(text.as_bytes(), &target, bound, UnixTime::from_secs(at))
    }

    #[test]
    fn d49_v1_v2_v6_the_proof_of_the_rfc_is_good_and_has_its_place_in_the_record() {
        let proving = Proving::by(TOKEN);
        assert_eq!(&*proving.ath, ATH);
        let proof = format!("{HEADER}.{PROOF}");
        let request = || (Method::GET, "https://resource.example.org/protectedresource");
        let bound = Some(Bound { jkt: JKT, proving: &proving });
        let good = check(&proof, request(), bound, AT).ok().unwrap();
        let key = "77ab10afa21406d5b9e4d3d8b107030b891b4bee08264c007a6a582ebd659ef8";
        assert_eq!((&*good.jkt, &*hex(&good.key)), (JKT, key));
        let other = Proving::by(b"another");
        let other = Some(Bound { jkt: JKT, proving: &other });
        assert!(check(&proof, request(), other, AT).is_err());
        assert!(check(&proof, request(), bound, 1_562_262_700).is_err());
        assert!(check(&proof[..proof.len() - 2], request(), bound, AT).is_err());
    }

    #[test]
    fn d53_a_header_is_known_once_a_proof_with_it_was_good_in_all() {
        let proof = format!("{HEADER}.{PROOF}");
        let (payload, signature) = PROOF.split_once('.').unwrap();
        let request = || (Method::GET, "https://resource.example.org/protectedresource");
        let proving = Proving::by(TOKEN);
        let bound = || Some(Bound { jkt: JKT, proving: &proving });
        let known = || proving.header(HEADER.as_bytes()).is_some();
        let with_nonces = built(accept().nonces(NonceKeys::random().unwrap()));
        let bad = |proof: &str, checker: &Checker, at| {
            assert!(check_by(checker, proof, request(), bound(), at).is_err());
        };
        let forged = format!("{HEADER}.{payload}.{}", signature.replace("2oW9", "2oW8"));
        let other_key = Proving::by(TOKEN);
        let of_another = Bound { jkt: ATH, proving: &other_key };
        for round in 0..2 {
            bad(&forged, &built(accept()), AT);
            bad(&proof, &built(accept()), AT + 100);
            bad(&proof, &with_nonces, AT);
            assert_eq!(known(), round > 0, "by no proof that is refused");
            assert!(check(&proof, request(), Some(of_another), AT).is_err());
            assert!(other_key.header(HEADER.as_bytes()).is_none());

            assert!(check(&proof, request(), bound(), AT).is_ok());
            assert!(known());
            for other in [&HEADER[1..], &HEADER[..HEADER.len() - 1], &format!("{HEADER}A"), ""] {
                assert!(proving.header(other.as_bytes()).is_none(), "{other}");
            }
        }
        // Whoever accepts the token, but not this algorithm, isn't told by what is known.
        let strict = built(accept().algorithms([Algorithm::EdDSA]));
        let refused = check_by(&strict, &proof, request(), bound(), AT).err().unwrap();
        assert!(refused.to_string().ends_with("alg isn't accepted"), "{refused}");
    }

    #[test]
    fn d53_a_known_header_isnt_read_again() {
        let proof = format!("{HEADER}.{PROOF}");
        let request = (Method::GET, "https://resource.example.org/protectedresource");
        let proving = Proving::by(TOKEN);
        let bound = Some(Bound { jkt: JKT, proving: &proving });
        let is_known = || {
            let mut scratch = Scratch::take(proof.len());
            let read = Proof::parse(proof.as_bytes(), bound, scratch.room()).unwrap();
            matches!(read.head, Head::Known(..))
        };
        assert!(!is_known());
        let first = check(&proof, request.clone(), bound, AT).ok().unwrap();
        assert!(is_known());
        let again = check(&proof, request, bound, AT).ok().unwrap();
        assert_eq!((&first.jkt, first.key), (&again.jkt, again.key), "it has the same place");
        assert_eq!(first.until, again.until);
    }

    #[test]
    fn v1a_the_token_proof_of_the_rfc_is_good() {
        let proof = format!("{HEADER}.{TOKEN_PROOF}");
        let to = |url| (Method::POST, url);
        let good = check(&proof, to("https://server.example.com/token"), None, 1_562_262_616);
        assert_eq!(good.ok().unwrap().jkt, JKT);
        for (url, at) in [
            ("https://server.example.com/other", 1_562_262_616),
            ("https://resource.example.org/token", 1_562_262_616),
            ("https://server.example.com/token", 1_562_262_500),
        ] {
            assert!(check(&proof, to(url), None, at).is_err(), "{url} {at}");
        }
    }

    // Counted where signatures are checked, whether the header of the client's proofs is known or not.
    #[cfg(feature = "test-util")]
    #[test]
    fn d52_d84_a_proof_costs_one_signature_check_if_all_else_is_good_and_else_none() {
        use super::rows::{PATH, Row};
        use crate::jose::VERIFIED;
        use crate::testing::{TestKey, TestProof};

        let (client, other) =
            (TestKey::generate(Algorithm::ES256), TestKey::generate(Algorithm::ES256));
        let token = "a.b.c";
        let good = || {
            let proof = TestProof::by(&client).now(UnixTime::from_secs(AT)).token(token);
            proof.method("GET").uri("https://api.example/a/b")
        };
        let names = [Algorithm::ES256, Algorithm::EdDSA];
        let usual = || Dpop::accept().public_origins(["https://api.example"]).algorithms(names);
        let checker = built(usual());
        let url = format!("https://api.example{PATH}");
        let alone = check_by(&checker, &good().sign(), (Method::GET, &url), None, AT);
        let of_client = alone.ok().unwrap().jkt;
        let with_nonces = built(usual().nonces(NonceKeys::random().unwrap()));
        let all = built(Dpop::accept().public_origins(["https://api.example"]));
        let checks = |checker: &Checker, proof: &str, jkt: &str, proving: &Proving| {
            let before = VERIFIED.get();
            let bound = Some(Bound { jkt, proving });
            let verdict = check_by(checker, proof, (Method::GET, &url), bound, AT);
            let code = verdict.err().map_or("accepted", |it| it.kind().code());
            (code, VERIFIED.get() - before)
        };
        let mut seen = [0, 0];
        // The other rows are about the fields, and refused before.
        let rows = Row::all()
            .into_iter()
            .filter(|row| row.proofs.is_none() && row.scheme.is_none() && row.token.is_none());
        for row in rows {
            for known in [false, true] {
                let proving = Proving::by(token.as_bytes());
                if known {
                    let first = checks(&checker, &good().sign(), &of_client, &proving);
                    assert_eq!(first, ("accepted", 1));
                }
                let proof = row.proof(&client, &other, token, AT);
                let (checker, jkt) = match row.jkt() {
                    Some(jkt) => (&all, jkt),
                    None => (&checker, of_client.to_string()),
                };
                let (code, cost) = checks(checker, &proof, &jkt, &proving);
                let what = format!("{} {}, known: {known}", row.id, row.name);
                assert_eq!(code, row.expect, "{what}");
                let may_cost = match code {
                    "accepted" => 1..=1,
                    // One that can't be a signature by its form isn't checked.
                    "dpop_proof_bad_signature" => 0..=1,
                    _ => 0..=0,
                };
                assert!(may_cost.contains(&cost), "{what}: {cost} checks");
                seen[usize::from(cost == 1)] += 1;
            }
        }
        assert!(seen[0] > 150 && seen[1] > 50, "{seen:?}");
        let proving = Proving::by(token.as_bytes());
        let cost = checks(&with_nonces, &good().sign(), &of_client, &proving);
        assert_eq!(cost, ("dpop_nonce_required", 1));
    }
}
