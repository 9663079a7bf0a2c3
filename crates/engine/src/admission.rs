//! Places: how many handshakes are in progress, in all and per address (the bound on what unauthenticated peers can hold), and
//! guards for every other number of places that a dropped task must give back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

/// The two limits and who uses them up.
pub(crate) struct Admission {
    max: usize,
    max_per_address: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    total: usize,
    addresses: HashMap<IpAddr, usize, foldhash::quality::RandomState>,
}

/// One of a number of places; given back when dropped, however its holder ends.
pub(crate) struct Place {
    taken: Option<Arc<AtomicUsize>>,
}

impl Place {
    /// One more place, of as many as there may be.
    pub(crate) fn take(taken: &Arc<AtomicUsize>) -> Self {
        taken.fetch_add(1, Relaxed);
        Self { taken: Some(Arc::clone(taken)) }
    }

    /// One more place while fewer than `max` are taken.
    pub(crate) fn take_below(taken: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        taken.fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1)).ok()?;
        Some(Self { taken: Some(Arc::clone(taken)) })
    }

    /// The place stays taken: somebody else gives it back.
    pub(crate) fn keep(mut self) {
        self.taken = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(taken) = &self.taken {
            taken.fetch_sub(1, Relaxed);
        }
    }
}

/// A handshake's place; given back when dropped.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(crate) fn new(max: usize, max_per_address: usize) -> Self {
        Self { max, max_per_address, state: Mutex::default() }
    }

    /// A place for one more handshake from `address`; `None` when a limit is reached.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Permit> {
        let address = address.to_canonical();
        let mut state = self.state.lock();
        if state.total >= self.max {
            return None;
        }
        let from_here = state.addresses.entry(address).or_default();
        if *from_here >= self.max_per_address {
            return None;
        }
        *from_here += 1;
        state.total += 1;
        Some(Permit { admission: Arc::clone(self), address })
    }

    /// Handshakes in progress.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().total
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        state.total -= 1;
        if let Some(count) = state.addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_with_a_dropped_or_panicking_holder() {
        let taken = Arc::new(AtomicUsize::new(0));
        let first = Place::take_below(&taken, 1);
        assert!(first.is_some() && Place::take_below(&taken, 1).is_none());
        drop(async move { first });
        assert_eq!(taken.load(Relaxed), 0);
        let holder = Arc::clone(&taken);
        let panicked = std::panic::catch_unwind(move || {
            let _place = Place::take(&holder);
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(panicked.is_err() && taken.load(Relaxed) == 0);
        Place::take(&taken).keep();
        assert_eq!(taken.load(Relaxed), 1);
    }

    #[test]
    fn both_limits_hold_and_places_come_back() {
        let admission = Arc::new(Admission::new(3, 2));
        let [a, b]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let first = admission.enter(a);
        let second = admission.enter("::ffff:10.0.0.1".parse().unwrap());
        assert!(first.is_some() && second.is_some() && admission.enter(a).is_none(), "mapped addresses count as one");
        let third = admission.enter(b);
        assert!(third.is_some() && admission.enter(b).is_none(), "total");
        drop((first, second, third));
        assert_eq!(admission.len(), 0);
        assert!(admission.state.lock().addresses.is_empty());
    }
}
