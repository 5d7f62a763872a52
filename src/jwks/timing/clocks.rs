//! Handles a disagreement of the wall clock and the monotonic one, which may stand still while the machine is
//! suspended, and continues where it was in one that is restored from a snapshot.

use std::sync::Arc;

use tokio::time::Instant;

use crate::clock::monotonic;
use crate::jwks::kept::store::{Published, Tenure};
use crate::jwks::refresher::SharedKeys;
use crate::jwks::timing::control::Control;
use crate::jwks::timing::schedule::Serving;

impl SharedKeys {
    /// Marks keys as stale that are fresh by the monotonic clock, but not by the wall clock, and
    /// plans a refresh for now. They expire when they would have: which clock is right is unknown.
    pub(crate) fn compare_clocks(&self, control: &mut Control, now: Instant) {
        if !self.store.is_overdue(self.config.clock.now()) {
            return;
        }
        let published = Arc::clone(self.store.load(now).published());
        if let Tenure::Serving(serving) = published.tenure
            && now < serving.fresh_until
        {
            let tenure = Tenure::Serving(Serving { fresh_until: now, ..serving });
            self.store.publish(Published { tenure, ..(*published).clone() });
            control.schedule.hasten(now);
        }
        self.store.watched(now);
        self.report.state(control, self.store.load(now).exact_state());
    }

    /// Compares the clocks for a caller to which the keys seem overdue, and which may have another clock.
    #[cold]
    pub(crate) fn suspect(&self) {
        if self.store.is_overdue(self.config.clock.now()) {
            let mut control = self.control();
            if !control.closed {
                self.compare_clocks(&mut control, monotonic());
            }
            drop(control);
            self.report.tell();
            self.wake();
        }
    }
}
