//! Places: how many handshakes are in progress, in all and per address (the bound on what unauthenticated peers can hold), and
//! guards for every other number of places that a dropped task must give back.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Why there is no place for a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Its address has as many in progress as one may have.
    Address,
    /// As many are in progress as may be, and as many on their way out.
    All,
}

/// Handshakes that have had to give way and whose sockets are not closed yet: so many beyond the limit at most.
const MAX_LEAVING: usize = 64;

/// The two limits and who uses them up.
pub(crate) struct Admission {
    max: usize,
    max_per_address: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    addresses: HashMap<IpAddr, usize, foldhash::quality::RandomState>,
    /// Those that have a place, oldest first.
    pending: BTreeMap<u64, Pending>,
    /// Those that do not give way for a while.
    standing: BTreeMap<u64, Pending>,
    /// How many have had to give way and are not gone yet.
    leaving: usize,
    /// The number of the next.
    next: u64,
}

/// A handshake in progress.
struct Pending {
    /// Whose place it is; `None`: nobody's in particular.
    address: Option<IpAddr>,
    /// Dropped to tell it that it has to give way.
    _hold: oneshot::Sender<()>,
}

impl State {
    /// Takes a place back, if it is still that handshake's.
    fn release(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number).or_else(|| self.standing.remove(&number))?;
        if let Some(address) = pending.address
            && let Some(count) = self.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
        Some(pending)
    }

    /// Takes the place of the oldest, which is told when the result is dropped.
    fn evict(&mut self) -> Option<Pending> {
        if self.leaving >= MAX_LEAVING {
            return None;
        }
        let oldest = *self.pending.first_key_value()?.0;
        self.leaving += 1;
        self.release(oldest)
    }
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

    /// A place that was kept: from here on it is given back when dropped.
    pub(crate) fn kept(taken: &Arc<AtomicUsize>) -> Self {
        Self { taken: Some(Arc::clone(taken)) }
    }

    /// The place stays taken: somebody else gives it back with [`Self::kept`].
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
    number: u64,
    held: oneshot::Receiver<()>,
}

impl Permit {
    /// What says whether it gives way.
    pub(crate) fn standing(&self) -> Standing {
        Standing { admission: Arc::clone(&self.admission), number: self.number }
    }

    /// Resolves when a newer handshake has got the place: this one has to end.
    pub(crate) async fn evicted(&mut self) {
        // Nothing is ever sent: the other end is dropped.
        let _ = (&mut self.held).await;
    }
}

/// Whether a handshake gives way to newer ones. Its place is its [`Permit`]'s.
pub(crate) struct Standing {
    admission: Arc<Admission>,
    number: u64,
}

impl Standing {
    /// From here on it does not: it waits for somebody else, and something else bounds how many do. `false`: it has had to.
    pub(crate) fn hold(&self) -> bool {
        let mut state = self.admission.state.lock();
        let Some(pending) = state.pending.remove(&self.number) else { return false };
        state.standing.insert(self.number, pending);
        true
    }

    /// Whose handshake it is has become known. `false`: there is no place for one more from there.
    pub(crate) fn assign(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let mut guard = self.admission.state.lock();
        let state = &mut *guard;
        // One that has had to give way is about to end.
        let Some(pending) = state.pending.get_mut(&self.number) else { return false };
        let count = state.addresses.entry(address).or_default();
        if *count >= self.admission.max_per_address {
            return false;
        }
        *count += 1;
        pending.address = Some(address);
        true
    }

    /// From here on it does again.
    pub(crate) fn release(&self) {
        let mut state = self.admission.state.lock();
        if let Some(pending) = state.standing.remove(&self.number) {
            state.pending.insert(self.number, pending);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        if state.release(self.number).is_none() {
            state.leaving -= 1;
        }
    }
}

impl Admission {
    /// Limits of `max` handshakes, and `max_per_address` from one address.
    pub(crate) fn new(max: usize, max_per_address: usize) -> Self {
        Self { max, max_per_address, state: Mutex::default() }
    }

    /// A place for one more handshake from `address`, unless that address has no more. When all places are taken the
    /// oldest handshake gives way: an honest one is done in a moment, so it is one that has no intention to be.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Full> {
        self.admit(Some(address.to_canonical()))
    }

    /// The same for one that comes from a trusted proxy, which stands for many: no limit per address.
    pub(crate) fn enter_for_others(self: &Arc<Self>) -> Result<Permit, Full> {
        self.admit(None)
    }

    fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Permit, Full> {
        // Told, hence woken, after the lock is gone.
        let _evicted;
        let mut state = self.state.lock();
        let count = address.and_then(|address| state.addresses.get(&address));
        if count.is_some_and(|count| *count >= self.max_per_address) {
            return Err(Full::Address);
        }
        if state.pending.len() >= self.max {
            _evicted = state.evict().ok_or(Full::All)?;
        }
        if let Some(address) = address {
            *state.addresses.entry(address).or_default() += 1;
        }
        let number = state.next;
        state.next += 1;
        let (hold, held) = oneshot::channel();
        state.pending.insert(number, Pending { address, _hold: hold });
        Ok(Permit { admission: Arc::clone(self), number, held })
    }

    /// Handshakes in progress, those on their way out included.
    pub(crate) fn len(&self) -> usize {
        let state = self.state.lock();
        state.pending.len() + state.standing.len() + state.leaving
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

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
        let [a, b, c]: [IpAddr; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| address.parse().unwrap());
        let mut first = admission.enter(a).unwrap();
        let second = admission.enter("::ffff:10.0.0.1".parse().unwrap());
        assert!(second.is_ok() && admission.enter(a).err() == Some(Full::Address), "mapped addresses count as one");
        let mut third = admission.enter(b).unwrap();
        assert!(first.held.try_recv() == Err(TryRecvError::Empty));
        let fourth = admission.enter(c);
        assert!(fourth.is_ok() && first.held.try_recv() == Err(TryRecvError::Closed), "the oldest gives way");
        assert!(third.held.try_recv() == Err(TryRecvError::Empty) && admission.len() == 4);
        drop(first);
        assert_eq!(admission.len(), 3);
        drop((second, third, fourth));
        assert_eq!(admission.len(), 0);
        assert!(admission.state.lock().addresses.is_empty());
    }

    #[test]
    fn a_handshake_counts_for_an_address_once_that_is_known() {
        let admission = Arc::new(Admission::new(10, 2));
        let address = "10.0.0.1".parse().unwrap();
        let permits: Vec<Permit> = (0..3).map(|_| admission.enter_for_others().unwrap()).collect();
        let assigned: Vec<bool> = permits.iter().map(|permit| permit.standing().assign(address)).collect();
        assert_eq!(assigned, [true, true, false]);
        assert!(admission.enter(address).is_err());
        drop(permits);
        assert!(admission.state.lock().addresses.is_empty() && admission.enter(address).is_ok());
    }

    #[test]
    fn whoever_holds_its_place_gives_way_to_nobody() {
        let admission = Arc::new(Admission::new(1, 2));
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        let mut first = admission.enter(a).unwrap();
        let standing = first.standing();
        assert!(standing.hold() && !standing.hold());
        let second = admission.enter(a);
        assert!(second.is_ok() && first.held.try_recv() == Err(TryRecvError::Empty) && admission.len() == 2);
        assert!(admission.enter(a).is_err(), "it counts for its address");
        standing.release();
        let _third = admission.enter(b);
        assert!(first.held.try_recv() == Err(TryRecvError::Closed), "and then it does");
        drop((first, second));
        assert_eq!(admission.len(), 1);
    }

    #[test]
    fn those_that_give_way_are_bounded_too() {
        let admission = Arc::new(Admission::new(2, 1000));
        let address = "10.0.0.1".parse().unwrap();
        let mut permits: Vec<Permit> = std::iter::from_fn(|| admission.enter(address).ok()).take(1000).collect();
        assert_eq!((permits.len(), admission.len()), (2 + MAX_LEAVING, 2 + MAX_LEAVING));
        assert_eq!(admission.enter(address).err(), Some(Full::All));
        permits.remove(0);
        assert!(admission.enter(address).is_ok(), "one is gone, one may come");
    }
}
