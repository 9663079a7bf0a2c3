//! Seats of handshakes that wait for the host: how many are taken, in all and by one address. Knows nothing of what they wait for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// One address may take one of so many seats: three of them leave some for everybody else.
const SHARE: usize = 4;

/// The seats of one engine.
pub(super) struct Seats {
    max: usize,
    max_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    addresses: HashMap<IpAddr, usize, foldhash::quality::RandomState>,
}

/// A seat; given back when dropped.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    /// Who has it; `None`: nobody in particular.
    address: Option<IpAddr>,
}

impl Seats {
    /// `max` of them.
    pub(super) fn new(max: usize) -> Self {
        Self { max, max_per_address: max.div_ceil(SHARE), taken: Mutex::default() }
    }

    /// One for `address`, `None`: for one who stands for many; `None` when it has its share, or all are taken.
    pub(super) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Seat> {
        let address = address.map(|address| address.to_canonical());
        let mut guard = self.taken.lock();
        let taken = &mut *guard;
        if taken.all >= self.max {
            return None;
        }
        if let Some(address) = address {
            let count = taken.addresses.entry(address).or_default();
            if *count >= self.max_per_address {
                return None;
            }
            *count += 1;
        }
        taken.all += 1;
        Some(Seat { seats: Arc::clone(self), address })
    }

    /// Those that are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.lock().all
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        taken.all -= 1;
        if let Some(address) = self.address
            && let Some(count) = taken.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                taken.addresses.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_and_who_stands_for_many_has_all() {
        let seats = Arc::new(Seats::new(10));
        let [a, b]: [Option<IpAddr>; 2] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().ok());
        let take = |address| std::iter::from_fn(|| seats.take(address)).take(100).collect::<Vec<Seat>>();
        let mut first = take(a);
        assert_eq!((first.len(), take(a).len(), take("::ffff:10.0.0.1".parse().ok()).len()), (3, 0, 0));
        let second = take(b);
        first.pop();
        assert_eq!((second.len(), take(a).len(), seats.taken()), (3, 1, 6), "one came back, and was taken again");
        let rest = take(None);
        assert_eq!((rest.len(), seats.take(a).is_none(), seats.taken()), (5, true, 10));
        drop((first, second, rest));
        assert_eq!((seats.taken(), take(None).len()), (0, 10));
        assert!(seats.taken.lock().addresses.is_empty());
        assert!(Arc::new(Seats::new(1)).take(a).is_some());
    }
}
