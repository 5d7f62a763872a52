//! Checks the DPoP settings and builds the checker.

use std::sync::Arc;
use std::time::Duration;

use crate::binding::dpop::checker::{Checker, Record};
use crate::binding::dpop::lifetime::Lifetime;
use crate::binding::dpop::proof::are_short;
use crate::binding::dpop::settings::Dpop;
use crate::binding::dpop::target::Origins;
use crate::binding::replay::memory::Memory;
use crate::binding::replay::quota::Quota;
use crate::error::{ConfigError, within};
use crate::jose::{Algorithm, Backend};

impl Dpop {
    /// Checks the settings. `resource` names the service, the same in all its instances.
    pub(crate) fn build(self, backend: Backend, resource: &str) -> Result<Checker, ConfigError> {
        let secs = Duration::from_secs;
        within("the max_age of DPoP proofs", self.max_age, secs(5)..=secs(300))?;
        within("the clock_skew of DPoP proofs", self.skew, secs(0)..=secs(60))?;
        let millis = Duration::from_millis;
        within("replay_timeout", self.replay_timeout, millis(1)..=millis(10_000))?;
        if self.nonce_replaces_iat && self.nonces.is_none() {
            return Err(ConfigError::new(
                "nonce_replaces_iat needs nonces, without which a proof of any time would be accepted: \
                 set them with .nonces(…), or leave it out",
            ));
        }
        let lifetime =
            Lifetime { max_age: self.max_age, skew: self.skew, by_nonce: self.nonce_replaces_iat };
        if self.conflicting {
            return Err(ConfigError::new(
                "trusted proxies of DPoP send Forwarded or X-Forwarded fields: a request doesn't \
                 show which of the two, so name one",
            ));
        }
        let record = self.record(resource, lifetime)?;
        let (algorithms, names) = algorithms(self.algorithms, backend)?;
        Ok(Checker {
            mode: self.mode,
            origins: Origins::new(&self.origins)?,
            forwarded: self.forwarded.filter(|trusted| !trusted.peers.are_none()),
            algorithms,
            names: names.into(),
            lifetime,
            nonces: self.nonces,
            record,
            backend,
        })
    }

    fn record(&self, resource: &str, lifetime: Lifetime) -> Result<Record, ConfigError> {
        if self.fail_open && (self.without_replay_check || self.replay_store.is_none()) {
            return Err(ConfigError::new(
                "dangerous_replay_fail_open is for a replay store that can fail: give one with \
                 .replay_store(…), or leave it out",
            ));
        }
        if self.replay_quota.is_some() && (self.without_replay_check || self.replay_store.is_some())
        {
            return Err(ConfigError::new(
                "replay_quota is for the record in memory, which isn't used: leave it out",
            ));
        }
        match &self.replay_store {
            Some(_) if self.without_replay_check => Err(ConfigError::new(
                "there is a replay store that dangerous_no_replay_check makes useless: leave one out",
            )),
            Some(_) if self.replay_bytes.is_some() => Err(ConfigError::new(
                "replay_bytes is for the record in memory, which a replay store replaces: leave one \
                 out",
            )),
            Some(store) => Ok(Record::Store {
                store: Arc::clone(store),
                prefix: format!("tower-bearer:dpop:{resource}:").into(),
                timeout: self.replay_timeout,
                fail_open: self.fail_open,
            }),
            None if self.without_replay_check => Ok(Record::None),
            None => {
                let memory = Memory::new(self.replay_bytes)?;
                let room = Memory::room(self.replay_bytes);
                let quota = self.replay_quota;
                let quota = quota.map(|most| Quota::new(most, lifetime.longest(), room));
                Ok(Record::Memory { memory, quota: quota.transpose()? })
            }
        }
    }
}

/// Returns the accepted algorithms, and their names for challenges.
fn algorithms(
    chosen: Option<Vec<Algorithm>>,
    backend: Backend,
) -> Result<(Box<[Algorithm]>, String), ConfigError> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
    let Some(chosen) = chosen else {
        let all = [ES256, ES384, EdDSA, PS256, RS256];
        // RFC 9864 gives the algorithm another name, which clients may look for.
        let both = |it: Algorithm| match it {
            EdDSA => format!("{EdDSA} {}", crate::jose::ED25519),
            other => other.name().to_owned(),
        };
        return Ok((all.into(), all.map(both).join(" ")));
    };
    if chosen.is_empty() {
        return Err(ConfigError::new("no algorithm of DPoP proofs is accepted: name at least one"));
    }
    if let Some(missing) = chosen.iter().find(|it| !backend.supports(**it)) {
        return Err(ConfigError::new(format!(
            "the crypto backend {backend:?} has no {missing}: leave it out, or use another backend"
        )));
    }
    // Many proxies reject longer fields, too.
    if let Some(long) = chosen.iter().find(|it| !are_short(**it)) {
        return Err(ConfigError::new(format!(
            "DPoP proofs with {long} don't fit into the 8 KiB that are read of one, with its key, its \
             signature and a usual URL: leave it out, or use {}, whose proofs have some 6 KiB",
            Algorithm::MlDsa44
        )));
    }
    let names: Vec<_> = chosen.iter().map(|it| it.name()).collect();
    Ok((chosen.clone().into(), names.join(" ")))
}
