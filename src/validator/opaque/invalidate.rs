//! Forgets what issuers have answered, after a revocation.

use std::sync::Arc;

use crate::introspection::IntrospectionStatus;
use crate::validator::handle::Validator;
use crate::validator::realm::Realm;
use crate::validator::realms::Realms;

impl<C: Send + Sync + 'static> Validator<C> {
    /// Forgets what an issuer has answered about this token, so that it is asked again: after a
    /// revocation that the service was notified of.
    ///
    /// Questions that are under way are forgotten as well: requests that wait for one get its
    /// answer, later ones a new one.
    #[cfg_attr(docsrs, doc(cfg(feature = "introspection")))]
    pub fn invalidate(&self, token: &str) {
        let memory = self.inner.opaque.memory();
        for realm in self.asking() {
            if let Some(asked) = &realm.asked {
                let key = asked.key(token.as_bytes());
                memory.flights.detach(&asked.flight(key));
                memory.forget(&key);
            }
        }
    }

    /// Forgets what issuers have answered about all tokens.
    #[cfg_attr(docsrs, doc(cfg(feature = "introspection")))]
    pub fn invalidate_all(&self) {
        self.asking().iter().filter_map(|realm| realm.asked.as_ref()).for_each(|it| it.forget());
        self.inner.opaque.memory().flights.detach_all();
    }

    /// Returns the status of this issuer's introspection endpoint; `None` if it isn't asked.
    #[cfg_attr(docsrs, doc(cfg(feature = "introspection")))]
    pub fn introspection_status(&self, issuer: &str) -> Option<IntrospectionStatus> {
        let realms = self.asking();
        let realm = realms.iter().find(|realm| realm.policy.is_called(issuer))?;
        Some(realm.asked.as_ref()?.introspector.status())
    }

    /// Returns `true` if a route may name the issuer to ask.
    #[inline]
    pub(crate) fn asks_by_route(&self) -> bool {
        self.inner.realms.ask_by_route()
    }

    /// Returns the issuers that are asked.
    fn asking(&self) -> Vec<Arc<Realm>> {
        let all = match &self.inner.realms {
            Realms::One(realm) => vec![Arc::clone(realm)],
            Realms::Many(many) => many.list().realms().cloned().collect(),
        };
        all.into_iter().filter(|realm| realm.asked.is_some()).collect()
    }
}
