//! Finding who receives what: publications to their subscribers, frames to one connection or all. Short runs are staged; long
//! ones, and what sockets that are blocked will have to wait for, go into a shared segment and the queues. Nothing is written
//! here: that is `flush`'s.

use std::rc::Rc;

use wse_protocol::envelope;
use wse_protocol::frame::parse_header;

use super::{Delivery, Floor, list};
use crate::conn::{Connection, Ledger, Loss, Offer};
use crate::frames::{Run, Segment, Slice};
use crate::id::ConnId;
use crate::topics::{Route, Target};

/// A run of at most this many bytes is staged; a longer one would be copied for every socket that does not take all of it.
const STAGE_BYTES: usize = 1024;
/// At most this many blocked connections get a copy of a short run; for more it is shared.
const COPIES: usize = 64;
/// What a publication or a send that reaches nobody costs, in deliveries.
const UNHEARD: usize = 4;

/// What one distribution did.
#[derive(Default)]
struct Tally {
    ledger: Ledger,
    operations: usize,
    /// Queues that did not take everything.
    full: Vec<(u32, Loss)>,
}

impl Tally {
    #[inline]
    fn offer(&mut self, connection: &mut Connection, slot: u32, slice: &Slice) {
        let loss = connection.account().offer(Offer::Shared(slice), &mut self.ledger);
        self.operations += 1;
        if !loss.is_none() {
            self.full.push((slot, loss));
        }
    }
}

impl Delivery {
    /// Delivers a run to one connection.
    pub(crate) fn send(&mut self, floor: &mut Floor<'_>, to: ConnId, run: Run) {
        if floor.find(to).is_none() {
            self.worked(UNHEARD);
            return;
        }
        if !self.staging.push(to.slot(), run) {
            let arena = Rc::clone(&self.arena);
            self.own(floor, to.slot(), run.of(&arena), run.count());
        }
        self.count(1, run.size());
    }

    /// Delivers a run to everybody who receives `topic`, but not to `except`.
    pub(crate) fn publish(&mut self, floor: &mut Floor<'_>, topic: &Target, run: Run, except: ConnId) {
        let skipped = if except == ConnId::NOBODY { None } else { floor.find(except).map(|found| found.id().slot()) };
        let Floor { connections, topics, context } = floor;
        let allows = |slot, name: &str| connections.get(slot).is_none_or(|connection| connection.peer().allows(name));
        let Route { recipients, work, .. } = topics.route(topic, allows);
        self.unflushed.operations += work;
        context.counters.match_work.add(work as u64);
        context.counters.acl_denied.add(recipients.denied() * u64::from(run.count()));
        let mut total = recipients.len();
        if total == 0 {
            self.worked(UNHEARD);
            return;
        }
        let mut misses = None;
        if run.size() > STAGE_BYTES {
            let others = skipped.map(|skipped| {
                let mut others = Vec::with_capacity(total);
                recipients.for_each(|slot| if slot == skipped { misses = Some(slot) } else { others.push(slot) });
                others
            });
            // What is staged came first.
            self.unstage(floor);
            self.share(floor, topic, run, others.as_deref());
            self.skip(floor, misses, run);
            return;
        }
        let mut behind = Vec::new();
        let staging = &mut self.staging;
        let mut stage = |slot| {
            if !staging.push(slot, run) {
                behind.push(slot);
            }
        };
        match skipped {
            None => recipients.for_each(stage),
            Some(skipped) => {
                recipients.for_each(|slot| if slot == skipped { misses = Some(slot) } else { stage(slot) })
            }
        }
        total -= usize::from(misses.is_some());
        let mut uncounted = total;
        if behind.len() > COPIES {
            // Sharing counts those it is for.
            uncounted -= behind.len();
            self.share(floor, topic, run, Some(&behind));
        } else {
            let arena = Rc::clone(&self.arena);
            behind.into_iter().for_each(|slot| self.own(floor, slot, run.of(&arena), run.count()));
        }
        self.count(uncounted, uncounted * run.size());
        self.skip(floor, misses, run);
    }

    /// Tells a subscriber that is left out of a run the offsets of its frames, or it would take them for lost.
    fn skip(&mut self, floor: &mut Floor<'_>, slot: Option<u32>, run: Run) {
        let Some(slot) = slot else { return };
        let arena = Rc::clone(&self.arena);
        let (mut frames, mut stamps, mut count) = (run.of(&arena), Vec::new(), 0);
        while let Ok(Some(header)) = parse_header(frames)
            && let Some((payload, rest)) =
                usize::try_from(header.payload).ok().and_then(|size| frames.get(header.size..)?.split_at_checked(size))
        {
            count += u32::from(envelope::push_skipped(&mut stamps, payload));
            frames = rest;
        }
        if count > 0 {
            self.unstage(floor);
            self.own(floor, slot, &stamps, count);
        }
    }

    /// Hands a run to many, of all recipients or those named: the bytes exist once, in the topic's segment.
    fn share(&mut self, floor: &mut Floor<'_>, topic: &Target, run: Run, only: Option<&[u32]>) {
        let arena = Rc::clone(&self.arena);
        let Floor { connections, topics, .. } = floor;
        let allows = |slot, name: &str| connections.get(slot).is_none_or(|connection| connection.peer().allows(name));
        let mut route = topics.route(topic, allows);
        let slice = Slice::append(route.segment(run.size(), &mut self.pool), run.of(&arena), run.count());
        let mut tally = Tally::default();
        let listed = &mut self.listed;
        let each = |slot| {
            if let Some(connection) = connections.get_mut(slot) {
                tally.offer(connection, slot, &slice);
                list(listed, slot, connection);
            }
        };
        match only {
            None => route.recipients.for_each(each),
            Some(slots) => slots.iter().copied().for_each(each),
        }
        // Topics without exact subscribers have no segment of their own; theirs is dropped when everybody has sent it.
        self.unsettled.extend(route.place);
        self.account(floor, tally, run.of(&arena), run.count());
    }

    /// Delivers a run to every connection.
    pub(crate) fn send_all(&mut self, floor: &mut Floor<'_>, run: Run) {
        self.unstage(floor);
        let arena = Rc::clone(&self.arena);
        let slice = Slice::append(Segment::default(), run.of(&arena), run.count());
        let mut tally = Tally::default();
        let listed = &mut self.listed;
        floor.connections.for_each_mut(|slot, connection| {
            tally.offer(connection, slot, &slice);
            list(listed, slot, connection);
        });
        self.account(floor, tally, run.of(&arena), run.count());
    }

    /// Adds what a distribution did to the counters, and deals with the queues it found full.
    fn account(&mut self, floor: &mut Floor<'_>, tally: Tally, frames: &[u8], count: u32) {
        let Tally { ledger, operations, full } = tally;
        self.count(operations, ledger.grown());
        ledger.post(&floor.context.counters);
        for (slot, loss) in full {
            self.retry(floor, slot, loss, frames, count);
        }
    }
}
