//! A connection's account: its queue, what it has lost, and the one way in, [`Account::offer`]. Decides nothing about what is
//! lost: that is `offer`'s.

use wse_protocol::frame::frame_size;

use super::outbound::{Outbound, Queued, lost};
use crate::clock::Millis;
use crate::frames::{RingSlice, Slice};
use crate::metrics::ShardCounters;

/// A slow consumer is reported to the host at most this often, milliseconds.
const REPORT_MS: u32 = 1000;

/// Frames on offer.
#[derive(Clone, Copy)]
pub(crate) enum Offer<'a> {
    /// Frames that exist once for many.
    Shared(&'a Slice),
    /// Frames of a ring, all or none; `reserve` bytes are to follow.
    Kept { slice: &'a RingSlice, reserve: usize },
    /// `count` frames, to be copied.
    Copied { frames: &'a [u8], count: u32 },
    /// `count` frames of which the socket took the first `written` bytes; the queue is empty.
    Rest { frames: &'a [u8], count: u32, written: usize },
    /// A text of the engine itself.
    Reply(&'a str),
}

impl Offer<'_> {
    fn count(&self) -> u32 {
        match self {
            Self::Shared(slice) => slice.run().count(),
            Self::Kept { slice, .. } => slice.run().count(),
            Self::Copied { count, .. } | Self::Rest { count, .. } => *count,
            Self::Reply(_) => 1,
        }
    }

    /// What is lost when only the first `taken` frames were taken.
    #[cold]
    fn lost(&self, taken: u32) -> Loss {
        let (frames, bytes) = match *self {
            Self::Shared(slice) => {
                let (frames, left) = (slice.run().count() - taken, slice.bytes());
                (frames, lost(&left, slice.run().count(), taken).1.len())
            }
            Self::Kept { slice, .. } => (slice.run().count(), slice.run().size()),
            Self::Copied { frames, count } | Self::Rest { frames, count, .. } => {
                let (frames, left) = lost(frames, count, taken);
                (frames, left.len())
            }
            Self::Reply(text) => (1, frame_size(text.len())),
        };
        Loss { frames, bytes }
    }
}

/// Frames that did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Loss {
    /// How many: always those at the end of what was offered.
    pub(crate) frames: u32,
    /// Their size.
    pub(super) bytes: usize,
}

impl Loss {
    /// Whether nothing was lost.
    pub(crate) const fn is_none(self) -> bool {
        self.frames == 0
    }

    /// Adds another loss.
    pub(crate) const fn add(&mut self, other: Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
    }
}

/// What offers came to, added up before it is posted to the counters.
#[derive(Default)]
pub(crate) struct Ledger {
    taken: u64,
    too_late: u64,
    before: usize,
    after: usize,
}

impl Ledger {
    /// Bytes by which the queues have grown.
    pub(crate) const fn grown(&self) -> usize {
        self.after.saturating_sub(self.before)
    }

    /// Adds everything to the counters.
    pub(crate) fn post(self, counters: &ShardCounters) {
        counters.messages_sent.add(self.taken);
        counters.too_late.add(self.too_late);
        counters.outbound_bytes.shift(self.before, self.after);
    }
}

/// What a connection is owed, and what it has lost.
pub(crate) struct Account {
    pub(super) out: Outbound,
    /// What was lost since the host was last told.
    pub(super) dropped: Option<Box<Dropped>>,
}

impl Account {
    /// An account of a connection that is owed `greeting` to begin with.
    pub(super) fn new(budget: usize, greeting: Vec<u8>) -> Self {
        let mut out = Outbound::new(budget);
        out.greet(greeting);
        Self { out, dropped: None }
    }

    /// Bytes its queue may still be charged with.
    pub(crate) fn room(&self) -> usize {
        self.out.room()
    }

    /// The least a slice of a ring is charged with.
    pub(crate) fn least_cost(slice: &RingSlice) -> usize {
        Outbound::least_cost(slice)
    }

    /// Offers frames to the queue and enters into `ledger` what it took. What it did not take is the caller's to offer again,
    /// or to [`Connection::lose`].
    #[inline]
    pub(crate) fn offer(&mut self, offer: Offer<'_>, ledger: &mut Ledger) -> Loss {
        let before = self.out.weight();
        let queued = match offer {
            Offer::Shared(slice) => self.out.share(slice),
            Offer::Kept { slice, reserve } => self.out.keep(slice, reserve),
            Offer::Copied { frames, count } => self.out.own(frames, count),
            Offer::Rest { frames, count, written } => self.out.own_rest(frames, written, count),
            Offer::Reply(text) => self.out.reply(text),
        };
        ledger.before += before;
        ledger.after += self.out.weight();
        match queued {
            Queued::All => {
                ledger.taken += u64::from(offer.count());
                Loss::default()
            }
            Queued::Part(taken) => {
                ledger.taken += u64::from(taken);
                offer.lost(taken)
            }
            Queued::Closed => {
                ledger.too_late += u64::from(offer.count());
                Loss::default()
            }
        }
    }
}

/// Frames and bytes a slow consumer lost and the host does not know of.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Dropped {
    /// All frames it ever lost, whoever knows of them.
    pub(super) ever: u64,
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// When the host was told last.
    pub(super) told: Option<Millis>,
}

impl Dropped {
    /// When the host is to be told, if there is something it does not know.
    pub(super) fn due(&self, now: Millis) -> Option<Millis> {
        (self.frames > 0).then(|| self.told.map_or(now, |told| told.after(REPORT_MS)))
    }
}

/// What follows for a connection that has lost frames.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// It stays.
    Dropping,
    /// It stays no longer, for another reason: the host hears of it now or never.
    Leaving,
    /// It is closed for it.
    Closing,
}
