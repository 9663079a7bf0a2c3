//! Subscribers that read at a pace of their own, below what they could. Decides when they read; counts nothing.

use crate::args::{Args, Outcome};
use crate::net::Net;
use crate::sys;

/// Most bytes one read of such a subscriber takes: small against its pace, so that it reads steadily and not in gulps.
const READ_MOST: usize = 16 * 1024;
/// Bytes a subscriber may catch up after there was nothing to read.
const BURST: f64 = 64.0 * 1024.0;

/// What sets the pace.
#[derive(Debug)]
enum Pace {
    /// Bytes per second, each.
    Steady(f64),
    /// This share of what the others read on average: subscribers `1..first`.
    Share(f64),
}

/// The subscribers from `first` on, and what each may read at the moment, in bytes.
#[derive(Debug)]
pub(crate) struct Throttle {
    pace: Pace,
    first: usize,
    allowed: Vec<(f64, u64)>,
    at: u64,
    others: u64,
}

impl Throttle {
    /// `--read-rate N`: every subscriber reads N bytes per second. `--slow-share S`: the last one reads S times what the
    /// others do. Neither: nobody is held.
    pub(crate) fn new(args: &Args) -> Outcome<Option<Self>> {
        let (rate, share): (f64, f64) = (args.get("read-rate", 0.0)?, args.get("slow-share", 0.0)?);
        let (pace, first) = match (rate > 0.0, share > 0.0) {
            (false, false) => return Ok(None),
            (true, false) => (Pace::Steady(rate), 1),
            (false, true) if share < 1.0 && args.connections > 1 => (Pace::Share(share), args.connections),
            _ => return Err("either --read-rate, or --slow-share below 1 and two connections".into()),
        };
        let allowed = vec![(0.0, 0); args.connections + 1 - first];
        Ok(Some(Self { pace, first, allowed, at: sys::now(), others: 0 }))
    }

    /// The first subscriber with a pace of its own; the others follow it.
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    /// The subscriber that is slower than the others, where there are others.
    pub(crate) fn slow_one(&self) -> Option<usize> {
        (self.first > 1).then_some(self.first)
    }

    /// Begins to hold them; call once all are open.
    pub(crate) fn begin(&mut self, net: &mut Net) {
        for slot in self.first..self.first + self.allowed.len() {
            net.read_at_most(slot, READ_MOST);
            self.allowed[slot - self.first] = (0.0, net.bytes_read_from(slot));
        }
        (self.at, self.others) = (sys::now(), self.read_by_others(net));
    }

    fn read_by_others(&self, net: &Net) -> u64 {
        (1..self.first).map(|slot| net.bytes_read_from(slot)).sum()
    }

    /// Lets those read who may by now, and stops the others; call it every turn.
    pub(crate) fn turn(&mut self, net: &mut Net) {
        let now = sys::now();
        let gained = match self.pace {
            Pace::Steady(rate) => rate * (now - self.at) as f64 / 1e9,
            Pace::Share(share) => {
                let others = self.read_by_others(net);
                let read = others - std::mem::replace(&mut self.others, others);
                share * read as f64 / (self.first - 1) as f64
            }
        };
        self.at = now;
        for (slot, (allowed, seen)) in (self.first..).zip(&mut self.allowed) {
            let read = net.bytes_read_from(slot);
            *allowed = (*allowed + gained).min(BURST) - (read - std::mem::replace(seen, read)) as f64;
            net.reading(slot, *allowed > 0.0);
        }
    }

    /// Lets everybody read what there is.
    pub(crate) fn end(self, net: &mut Net) {
        for slot in self.first..self.first + self.allowed.len() {
            net.read_at_most(slot, usize::MAX);
            net.reading(slot, true);
        }
    }
}
