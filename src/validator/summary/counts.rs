//! Counters that many threads add to without contention.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::refusal::{Refusal, RejectionKind, UnavailableReason};

const PARTS: usize = 8;

/// A counter to which each thread adds in a cache line of its own, so that they don't contend.
#[derive(Debug, Default)]
pub(crate) struct Spread([Part; PARTS]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Part(AtomicI64);

thread_local! {
    static PART: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % PARTS
    };
}

impl Spread {
    #[inline]
    pub(crate) fn add(&self, by: i64) {
        let part = PART.try_with(|part| *part).unwrap_or_default();
        if let Some(part) = self.0.get(part) {
            part.0.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Returns the count, and resets it.
    pub(crate) fn take(&self) -> u64 {
        let sum = self.0.iter().map(|part| part.0.swap(0, Ordering::Relaxed));
        sum.fold(0_i64, i64::saturating_add).try_into().unwrap_or_default()
    }
}

/// How often each reason occurred, with one refusal as an example.
#[derive(Debug)]
pub(crate) struct Reasons(Box<[Reason]>);

#[derive(Debug, Default)]
struct Reason {
    count: AtomicU64,
    example: Mutex<Option<Refusal>>,
}

/// The count and the example of one reason.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) example: Refusal,
    pub(crate) count: u64,
}

impl Default for Reasons {
    fn default() -> Self {
        let all = RejectionKind::ALL.len().saturating_add(UnavailableReason::ALL.len());
        Self((0..all).map(|_| Reason::default()).collect())
    }
}

impl Reasons {
    /// Counts a refusal. Returns how many had the same reason before; `None` for those that aren't
    /// counted.
    pub(crate) fn add(&self, refusal: &Refusal) -> Option<u64> {
        let at = match refusal {
            Refusal::Rejection(rejection) => rejection.kind() as usize,
            Refusal::Unavailable(unavailable) => {
                RejectionKind::ALL.len().saturating_add(unavailable.reason() as usize)
            }
            Refusal::Misconfigured(_) => return None,
        };
        let reason = self.0.get(at)?;
        let before = reason.count.fetch_add(1, Ordering::Relaxed);
        // Less often the more there are; a caller can't choose to be the one.
        if before & before.saturating_add(1) == 0
            && let Ok(mut example) = reason.example.try_lock()
        {
            *example = Some(refusal.clone());
        }
        Some(before)
    }

    /// Returns what was counted, the commonest reason first, and resets the counts.
    pub(crate) fn take(&self) -> Vec<Tally> {
        let taken = self.0.iter().filter_map(|reason| {
            if reason.count.load(Ordering::Relaxed) == 0 {
                return None;
            }
            let mut example = reason.example.lock().unwrap_or_else(PoisonError::into_inner);
            let example = example.take()?;
            Some(Tally { example, count: reason.count.swap(0, Ordering::Relaxed) })
        });
        let mut taken: Vec<Tally> = taken.collect();
        taken.sort_by_key(|tally| std::cmp::Reverse(tally.count));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Unavailable;

    #[test]
    fn each_kind_has_its_own_count() {
        let reasons = Reasons::default();
        for kind in RejectionKind::ALL {
            assert_eq!(reasons.add(&Refusal::from(*kind)), Some(0), "{kind:?}");
        }
        for reason in UnavailableReason::ALL {
            let unavailable = Unavailable::new(*reason, std::time::Duration::ZERO);
            assert_eq!(reasons.add(&unavailable.into()), Some(0), "{reason:?}");
        }
        assert_eq!(reasons.add(&RejectionKind::Expired.into()), Some(1));
        let taken = reasons.take();
        assert_eq!(taken.len(), RejectionKind::ALL.len() + UnavailableReason::ALL.len());
        assert_eq!((taken[0].example.code(), taken[0].count), ("expired", 2));
        assert!(reasons.take().is_empty());
    }

    #[test]
    fn what_threads_add_is_summed_and_may_be_taken_back() {
        let spread = Spread::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..100).for_each(|_| spread.add(1)));
            }
        });
        spread.add(-7);
        assert_eq!(spread.take(), 1_993);
        spread.add(-1);
        assert_eq!(spread.take(), 0);
    }
}
