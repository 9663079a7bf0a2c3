//! A shard: it alone owns its connections and everything they touch. `mailbox` is the only way in from outside. `turn` is
//! what it does, one step a call; `driver` is the thread that calls it, `inline` calls it on an event loop of the host
//! (docs/design/drivers.md).

mod adopt;
mod answer;
mod apply;
mod applying;
mod departures;
mod driver;
mod memory;
mod plan;
mod recover;
mod refresh;
mod refreshes;
mod rehome;
mod see_out;
mod serve;
mod served;
mod shots;
mod snapshot;
mod subscribe;
#[cfg(test)]
mod tests;
mod thread;
mod turn;
mod update;
mod updates;
mod waiting;
mod work;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::close_payload;

use crate::admission::Place;
use crate::clock::Millis;
use crate::conn::{By, Connection, Context};
use crate::delivery::{Delivery, Floor};
use crate::flow::Pacer;
use crate::id::ConnId;
use crate::reactor::Reactor;
use crate::ready::ReadyQueue;
use crate::shared::Shared;
use crate::slab::Slab;
use crate::topics::Subscribers;
use crate::wheel::Visit;
use departures::Departures;
use memory::MemoryWatch;
use refreshes::Refreshes;
use served::Served;
use updates::Updates;
use waiting::Waiting;
use work::Work;

pub(crate) use adopt::{Admitted, NotAdopted};
pub use driver::Step;
pub(crate) use driver::{Caller, Driver, Equipment};
pub(crate) use thread::spawn;

/// A shard, shared between its loop and the tasks of handshakes on one thread.
pub(super) type SharedShard = Rc<RefCell<Shard>>;

/// Everything one shard owns.
pub(super) struct Shard {
    index: usize,
    connections: Slab<Connection>,
    topics: Subscribers,
    delivery: Delivery,
    context: Context,
    /// Connections whose sockets can go on.
    ready: Arc<ReadyQueue>,
    /// Connections not read while the host does not read events, and such as have begun to close since: in the order in which
    /// they are to be read again.
    paused: Vec<ConnId>,
    /// Those of them that were read just before, and come last.
    sated: Vec<ConnId>,
    /// Requests of clients to be answered.
    updates: Updates,
    /// What was replayed to whom a moment ago.
    served: Served,
    /// Requests to recover that wait for their turn.
    waiting: Waiting,
    /// Tokens that wait for their keys.
    refreshes: Refreshes,
    /// The batch of commands in work.
    work: Option<Work>,
    /// How much may wait in the mailbox.
    pacer: Pacer,
    /// Visits of the wheel that have fallen due.
    due: Vec<Visit>,
    /// When the wheel was last moved.
    ticked: Millis,
    memory: MemoryWatch,
    /// Presences that are to end.
    departures: Departures,
    /// Connections that have had a costly turn, and have the next one once the sockets were asked who else is ready.
    spent: Vec<ConnId>,
    /// Where its sockets are registered.
    reactor: Rc<Reactor>,
    /// A panic left something nobody can mend.
    broken: bool,
}

impl Shard {
    fn new(shared: Arc<Shared>, index: usize, reactor: Rc<Reactor>) -> Self {
        Self {
            index,
            reactor,
            spent: Vec::new(),
            connections: Slab::default(),
            topics: Subscribers::new(index),
            delivery: Delivery::default(),
            ready: Arc::default(),
            paused: Vec::new(),
            sated: Vec::new(),
            updates: Updates::default(),
            served: Served::default(),
            waiting: Waiting::default(),
            refreshes: Refreshes::default(),
            work: None,
            pacer: Pacer::new(shared.config.target_delay, shared.config.mailbox_ceiling()),
            due: Vec::new(),
            ticked: shared.clock.now(),
            memory: MemoryWatch::new(shared.clock.now()),
            departures: Departures::default(),
            broken: false,
            context: Context::new(shared, index),
        }
    }

    /// Whether it has to begin again.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The time of what it does from here on.
    pub(super) fn keep_time(&mut self, time: Instant) {
        self.context.keep_time(time);
    }

    /// Connections whose sockets can go on.
    pub(super) fn ready(&self) -> &Arc<ReadyQueue> {
        &self.ready
    }

    /// Where its sockets are registered.
    pub(super) fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    /// Which of the engine's shards it is.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// The connection an id names, if it is still that one.
    fn find(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(id.slot()).filter(|connection| connection.id() == id)
    }

    /// Delivery and what it touches.
    fn delivery(&mut self) -> (&mut Delivery, Floor<'_>) {
        let Self { delivery, connections, topics, context, .. } = self;
        (delivery, Floor { connections, topics, context })
    }

    /// Writes what a connection is owed; false when that ended it.
    fn flush(&mut self, slot: u32) -> bool {
        let (delivery, mut floor) = self.delivery();
        let alive = delivery.flush(&mut floor, slot);
        self.reap();
        alive
    }

    /// Settles what is staged for one connection: something is about to happen that comes after it.
    fn settle_now(&mut self, slot: u32) {
        let (delivery, mut floor) = self.delivery();
        delivery.settle_now(&mut floor, slot);
        self.reap();
    }

    /// Takes out the connections that ended while they were written to.
    fn reap(&mut self) {
        for id in self.delivery.take_over() {
            self.remove(id);
        }
    }

    /// Takes a connection out: subscriptions, memberships, the shared maps, and exactly one `disconnect` event.
    fn remove(&mut self, id: ConnId) {
        if self.find(id).is_none() {
            return;
        }
        let Some(connection) = self.connections.remove(id.slot()) else { return };
        self.delivery.forget(id.slot());
        let shared = Arc::clone(&self.context.shared);
        // Its places are free at the end of this, whatever else comes of it.
        let _places = [Place::kept(&shared.shards[self.index].load), shared.leave()];
        shared.registry.remove(id);
        self.forget_updates(id.slot());
        self.served.forget(id.slot());
        self.forget_refresh(id.slot());
        self.forget_subscriptions(&connection, id);
        connection.end(&mut self.context);
    }

    /// Takes a connection out that is given up without a word to its peer, for this reason.
    fn abandon(&mut self, id: ConnId, code: CloseCode) {
        if self.find(id).is_some() {
            self.context.note_end(id.slot(), By::Server, &close_payload(code, ""));
            self.remove(id);
        }
    }

    /// After a panic: counts it and mends what it may have left half done.
    fn recover(&mut self) {
        self.context.counters.panics.add(1);
        self.context.restore();
        let met = self.delivery.recover(&mut self.connections);
        if let Some(id) = met.and_then(|slot| self.connections.get(slot)).map(Connection::id) {
            self.abandon(id, CloseCode::INTERNAL_ERROR);
        }
    }
}
