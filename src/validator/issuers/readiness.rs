//! Which of several issuers a readiness probe requires.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::error::ConfigError;
use crate::jwks::{Health, NotReady};
use crate::validator::list::List;
use crate::validator::realm::Realm;

/// Which of several issuers must be able to check tokens for the service to be ready.
///
/// An issuer that isn't able to has its own tokens answered 503, whatever this says, and no other's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Readiness(Needed);

#[derive(Clone, Debug, Default, Eq, PartialEq)]
enum Needed {
    #[default]
    Any,
    All,
    Named(Vec<String>),
}

impl Readiness {
    /// At least one issuer: the default. If others can't check tokens, the service is degraded.
    pub const fn any() -> Self {
        Self(Needed::Any)
    }

    /// All issuers: the outage of one takes the service out of rotation.
    pub const fn all() -> Self {
        Self(Needed::All)
    }

    /// These issuers. If others can't check tokens, the service is degraded.
    pub fn of(issuers: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(Needed::Named(issuers.into_iter().map(Into::into).collect()))
    }

    /// Checks that the issuers that it names are in the list.
    pub(crate) fn check(&self, list: &List) -> Result<(), ConfigError> {
        let Needed::Named(names) = &self.0 else { return Ok(()) };
        if names.is_empty() {
            return Err(ConfigError::new(
                "the readiness names no issuer: name one, or use Readiness::any",
            ));
        }
        match names.iter().find(|name| list.named(name).is_none()) {
            None => Ok(()),
            Some(name) => Err(ConfigError::new(format!(
                "the readiness names the issuer {name:?}, which isn't in the list"
            ))),
        }
    }

    fn needs(&self, realm: &Realm) -> bool {
        match &self.0 {
            Needed::Any | Needed::All => true,
            Needed::Named(names) => names.iter().any(|name| realm.policy.is_called(name)),
        }
    }

    pub(crate) fn health(&self, list: &List) -> Health {
        // Only tenants: each is as ready as its own issuer.
        if list.is_empty() {
            return Health::Ready;
        }
        let healths = || list.realms().map(|realm| (self.needs(realm), realm.health()));
        let (mut needed, serves) = (healths().filter(|(needed, _)| *needed), Health::is_ready);
        let ready = match self.0 {
            Needed::Any => needed.any(|(_, health)| serves(health)),
            Needed::All | Needed::Named(_) => needed.all(|(_, health)| serves(health)),
        };
        match ready {
            false => Health::NotReady,
            true if healths().all(|(_, health)| health == Health::Ready) => Health::Ready,
            true => Health::Degraded,
        }
    }

    pub(crate) async fn ready(&self, list: &List, deadline: Duration) -> Result<(), NotReady> {
        let needed = list.realms().filter(|realm| self.needs(realm));
        let waits: Vec<_> = needed.map(|realm| wait(Arc::clone(realm), deadline)).collect();
        if waits.is_empty() {
            return Ok(());
        }
        let enough = if self.0 == Needed::Any { 1 } else { waits.len() };
        first(waits, enough).await
    }
}

type Wait = Pin<Box<dyn Future<Output = Result<(), NotReady>> + Send>>;

fn wait(realm: Arc<Realm>, deadline: Duration) -> Wait {
    Box::pin(async move { realm.ready(deadline).await })
}

/// Waits for all at once until enough of them are ready, or no longer can be.
async fn first(mut waits: Vec<Wait>, mut enough: usize) -> Result<(), NotReady> {
    let mut failed = None;
    poll_fn(|cx| {
        waits.retain_mut(|wait| match wait.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => {
                enough = enough.saturating_sub(1);
                false
            }
            Poll::Ready(Err(error)) => {
                failed.get_or_insert(error);
                false
            }
        });
        match (&failed, enough) {
            (_, 0) => Poll::Ready(Ok(())),
            (Some(error), missing) if waits.len() < missing => Poll::Ready(Err(error.clone())),
            _ => Poll::Pending,
        }
    })
    .await
}
