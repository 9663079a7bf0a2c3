//! How many handshakes are in progress, in all and per address: the bound on what unauthenticated peers can hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

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
