//! The engine: its life, and the calls a host makes. Calls on messages and subscriptions are O(what they are given); those
//! that list or measure walk what they list. None takes a lock a shard holds while it works, and all may come from any thread.

mod asking;
mod connections;
mod handed;
mod inline;
mod metrics;
mod outgoing;
mod outlet;
mod presence;
mod recovery;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst, fence};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use wse_protocol::close_code::CloseCode;

pub use connections::Subscribed;
pub use inline::{Bound, Inline, Step};
pub use outlet::LimitsMet;
pub use presence::{PresenceError, PresenceMember};
pub use recovery::{History, HistoryQuery};

pub use crate::net::{PumpedPeer, Relay, Reply};

use crate::config::Config;
use crate::error::EngineError;
use crate::inbound::{Consumer, Stall, Taken};
use crate::mailbox::Command;
use crate::net::{self, Listener};
use crate::shard;
use crate::shared::Shared;

/// How often waiting calls look whether they may end.
const POLL: Duration = Duration::from_millis(5);
/// What `stop` grants the threads beyond its own time limit.
const JOIN_GRACE: Duration = Duration::from_secs(1);

/// Where an engine is in its life. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Not started.
    Created = 0,
    /// Accepting.
    Running = 1,
    /// Open connections are asked to leave, none is accepted.
    Draining = 2,
    /// Over.
    Stopped = 3,
}

/// One server: listener, shards and everything they share.
pub struct Engine {
    shared: Arc<Shared>,
    state: AtomicU8,
    /// A `start` is under way; the lock on `threads` is not held while a name resolves.
    starting: AtomicBool,
    /// When all waiting ends, nanoseconds since `born`: the earliest time any `stop` was given.
    deadline: AtomicU64,
    born: Instant,
    threads: Mutex<Threads>,
    /// Sockets of other HTTP servers are taken: the shards run, and nobody has begun to end them.
    open: Mutex<bool>,
}

#[derive(Default)]
struct Threads {
    listener: Option<Listener>,
    shards: Vec<JoinHandle<()>>,
    /// The one shard runs on the host's event loop instead.
    inline: bool,
}

impl Threads {
    fn is_empty(&self) -> bool {
        self.shards.is_empty() && !self.inline
    }
}

impl Engine {
    /// An engine that is not running yet.
    pub fn new(config: Config) -> Self {
        let shared = Shared::new(config);
        // A shard that is asked for the metrics has them written here, where they are all known.
        let _ = shared.exposition.set(metrics::exposition);
        Self {
            shared: Arc::new(shared),
            state: AtomicU8::new(State::Created as u8),
            starting: AtomicBool::new(false),
            deadline: AtomicU64::new(u64::MAX),
            born: Instant::now(),
            threads: Mutex::default(),
            open: Mutex::new(false),
        }
    }

    /// Where the engine is in its life.
    pub fn state(&self) -> State {
        match self.state.load(SeqCst) {
            0 => State::Created,
            1 => State::Running,
            2 => State::Draining,
            _ => State::Stopped,
        }
    }

    /// Fails unless calls on connections and topics make sense.
    ///
    /// # Errors
    /// [`EngineError::NotRunning`] before the start, [`EngineError::Stopped`] after the stop.
    #[inline]
    pub fn check_running(&self) -> Result<(), EngineError> {
        match self.state() {
            State::Created => Err(EngineError::NotRunning),
            State::Stopped => Err(EngineError::Stopped),
            State::Running | State::Draining => Ok(()),
        }
    }

    /// Binds and starts the threads. Blocks for as long as the name resolves; returns the bound address, if there is a port to
    /// bind.
    ///
    /// # Errors
    /// The address cannot be bound, a thread cannot be spawned, or the engine was started before. A failed start leaves
    /// the engine as it was.
    pub fn start(&self) -> Result<Option<SocketAddr>, EngineError> {
        if self.starting.swap(true, SeqCst) {
            return Err(EngineError::AlreadyRunning);
        }
        let started = self.try_start();
        self.starting.store(false, SeqCst);
        if self.shared.draining.load(SeqCst) && started.is_ok() {
            // Abandoned meanwhile by somebody who did not wait for us.
            self.stop(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
            return Err(EngineError::Stopped);
        }
        started
    }

    fn try_start(&self) -> Result<Option<SocketAddr>, EngineError> {
        self.check_startable()?;
        let config = &self.shared.config;
        // Before the lock: a name that does not resolve must not make a stop wait.
        let socket = net::bind(config)?;
        let mut threads = self.threads.lock();
        self.check_startable()?;
        for index in 0..config.shards {
            match shard::spawn(Arc::clone(&self.shared), index, net::handshake) {
                Ok(thread) => threads.shards.push(thread),
                Err(error) => {
                    end_shards(&self.shared, &mut threads, Instant::now() + JOIN_GRACE);
                    return Err(error.into());
                }
            }
        }
        threads.listener = match socket.map(|socket| Listener::spawn(socket, Arc::clone(&self.shared))).transpose() {
            Ok(listener) => listener,
            Err(error) => {
                end_shards(&self.shared, &mut threads, Instant::now() + JOIN_GRACE);
                return Err(error.into());
            }
        };
        self.enter_running();
        Ok(threads.listener.as_ref().and_then(|listener| listener.address))
    }

    fn enter_running(&self) {
        self.state.store(State::Running as u8, SeqCst);
        *self.open.lock() = true;
    }

    fn check_startable(&self) -> Result<(), EngineError> {
        match self.state() {
            State::Created => Ok(()),
            State::Stopped => Err(EngineError::Stopped),
            State::Running | State::Draining => Err(EngineError::AlreadyRunning),
        }
    }

    /// Refuses new connections, asks the open ones to leave with `code`, and waits up to `timeout` for them. Blocks.
    /// Returns whether all had left in time; nobody is forced.
    ///
    /// # Errors
    /// The engine is not running.
    pub fn drain(&self, code: CloseCode, reason: &str, timeout: Duration) -> Result<bool, EngineError> {
        self.check_running()?;
        self.shared.draining.store(true, SeqCst);
        // Another state than Running means somebody drains or stops already; closing twice is harmless.
        let _ = self.state.compare_exchange(State::Running as u8, State::Draining as u8, SeqCst, SeqCst);
        self.shared.asking.close();
        self.close_all(code, reason);
        Ok(self.await_empty(Some(Instant::now() + timeout)))
    }

    /// Closes every connection with `code`, waits up to `timeout` for the close handshakes, and ends the threads. Blocks.
    /// Does nothing on an engine that is stopped already; while another call stops it, waits for that one, which waits no
    /// longer than this one would.
    pub fn stop(&self, code: CloseCode, reason: &str, timeout: Duration) {
        self.shared.draining.store(true, SeqCst);
        self.end_waiting_in(timeout);
        self.stop_locked(self.threads.lock(), code, reason);
    }

    /// As [`Self::stop`] for a host that is about to be gone. Waits up to `timeout` in all: where another call starts or stops
    /// the engine, that one ends as soon as this one would, whether or not this one has seen it.
    pub fn abandon(&self, code: CloseCode, reason: &str, timeout: Duration) {
        self.shared.draining.store(true, SeqCst);
        self.end_waiting_in(timeout);
        if let Some(threads) = self.threads.try_lock_for(timeout) {
            self.stop_locked(threads, code, reason);
        }
    }

    fn stop_locked(&self, mut threads: MutexGuard<'_, Threads>, code: CloseCode, reason: &str) {
        if self.state() == State::Stopped {
            return;
        }
        drop(threads.listener.take());
        self.shut();
        self.shared.asking.close();
        if !threads.is_empty() {
            self.close_all(code, reason);
            self.await_empty(None);
            end_shards(&self.shared, &mut threads, Instant::now() + JOIN_GRACE);
        }
        self.state.store(State::Stopped as u8, SeqCst);
        // Nobody adds to them any more.
        drop(self.shared.outlet.close());
        self.shared.inbound.end(&|parted| self.shared.describe(parted));
        self.shared.wake_publishers();
        if std::mem::take(&mut threads.inline) {
            // Its event loop looks whether it is over.
            self.shared.shards[0].mailbox.nudge();
        }
    }

    /// Uses another certificate for connections from now on; open ones keep theirs.
    ///
    /// # Errors
    /// The server has no TLS, or the pair is not valid: then the old one stays in use.
    pub fn reload_tls(&self, cert: &[u8], key: &[u8]) -> Result<(), EngineError> {
        let tls = self.shared.config.tls.as_ref();
        let tls = tls.ok_or_else(|| EngineError::Tls("the server was started without tls".into()))?;
        tls.reload(cert, key).map_err(|error| EngineError::Tls(format!("{}: {}", error.field, error.reason)))
    }

    fn close_all(&self, code: CloseCode, reason: &str) {
        for shard in &self.shared.shards {
            shard.mailbox.command(Command::CloseAll { code, reason: reason.into() });
        }
    }

    /// Nothing waits longer than this from now on.
    fn end_waiting_in(&self, timeout: Duration) {
        let at = (self.born.elapsed() + timeout).as_nanos();
        self.deadline.fetch_min(u64::try_from(at).unwrap_or(u64::MAX), SeqCst);
    }

    /// Waits until nobody is connected, up to `deadline` and to that of any `stop`; returns whether nobody is.
    fn await_empty(&self, deadline: Option<Instant>) -> bool {
        loop {
            if self.shared.is_empty() {
                return true;
            }
            let is_over = self.born.elapsed().as_nanos() >= u128::from(self.deadline.load(SeqCst));
            if is_over || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            std::thread::sleep(POLL);
        }
    }

    /// A host thread begins to read events.
    pub fn join(&self) -> Arc<Consumer> {
        self.join_as(0, None)
    }

    /// The same; `thread` is its number where stalls are reported, `previous` what it has left: it is given back if nobody has
    /// come since, and then nobody is adopted.
    pub fn join_as(&self, thread: u32, previous: Option<&Arc<Consumer>>) -> Arc<Consumer> {
        let (consumer, moves) = self.shared.inbound.join(thread, previous, &|parted| self.shared.describe(parted));
        self.rehome(moves);
        consumer
    }

    /// A host thread is gone: its connections' events go to the others, or wait for the next to join.
    pub fn leave(&self, consumer: &Arc<Consumer>) {
        self.shared.inbound.leave(consumer, &|parted| self.shared.describe(parted));
        // What waited for it looks for another, too.
        self.rehome(true);
    }

    fn rehome(&self, moves: bool) {
        if moves && matches!(self.state(), State::Running | State::Draining) {
            self.shared.rehome();
        }
    }

    /// A reader is busy with what it took and will come for more: it is not to be taken for one that has stopped reading.
    pub fn excuse(&self, consumer: &Consumer) {
        consumer.excuse();
    }

    /// Readers that have stopped reading while events waited, and were not reported by this call before.
    pub fn take_stalls(&self) -> Vec<Stall> {
        self.shared.inbound.take_stalls()
    }

    /// Whether events are thrown away, so that there is nothing to read.
    pub fn discards_events(&self) -> bool {
        self.shared.config.discard_inbound
    }

    /// Takes up to `max` events without waiting, in the flat form of `inbound::batch`, into `out`; messages of one shape as
    /// `columns` if asked for. After [`Taken::Nothing`] the callback given to [`Self::on_batch`] is called once when something
    /// arrives.
    pub fn take_batch(&self, consumer: &Consumer, max: usize, columns: bool, out: &mut [u8]) -> Taken {
        let taken = consumer.take(max, columns, out);
        self.resume_reading(consumer);
        taken
    }

    /// The consumer is done with all it took, and would take again: whether there is anything to take. If there is not, the callback
    /// given to [`Self::on_batch`] is called once when something arrives.
    pub fn look_for_batch(&self, consumer: &Consumer) -> bool {
        let waits = consumer.look();
        self.resume_reading(consumer);
        waits
    }

    /// As [`Self::take_batch`], blocking up to `timeout` for the first event.
    pub fn wait_batch(
        &self,
        consumer: &Consumer,
        max: usize,
        columns: bool,
        timeout: Duration,
        out: &mut [u8],
    ) -> Taken {
        let taken = self.take_batch(consumer, max, columns, out);
        if taken != Taken::Nothing {
            return taken;
        }
        let taken = consumer.wait(max, columns, timeout, out);
        self.resume_reading(consumer);
        taken
    }

    /// Sets what is called, from any thread, when a batch arrives after [`Self::take_batch`] found none, and at the end.
    pub fn on_batch(&self, consumer: &Consumer, wake: Option<Arc<dyn Fn() + Send + Sync>>) {
        consumer.on_batch(wake);
    }

    /// Tells shards that wait for the host that it has read: they read on, or close what waited for an answer.
    fn resume_reading(&self, consumer: &Consumer) {
        // Pairs with the fences in `Context`: and in `Consumer`: either we see that a shard waits, or it sees what we have read.
        fence(SeqCst);
        for shard in consumer.take_paused() {
            self.shared.shards[shard].mailbox.command(Command::Resume);
        }
        for shard in &self.shared.shards {
            if shard.parting.load(SeqCst) && shard.parting.swap(false, SeqCst) {
                shard.mailbox.nudge();
            }
        }
    }
}

/// Asks the shards to end and waits for them. A shard that does not end in time is left behind: blocking the host for ever
/// would be worse, and it holds nothing the host needs.
fn end_shards(shared: &Shared, threads: &mut Threads, deadline: Instant) {
    // Only those that were started: a Stop left in a mailbox would end the shard of the next start.
    let started = threads.shards.len() + usize::from(threads.inline);
    for shard in &shared.shards[..started] {
        shard.mailbox.command(Command::Stop);
    }
    while threads.inline && !shared.inline_ended.load(SeqCst) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    for thread in threads.shards.drain(..) {
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            // A panicking shard was counted where it panicked.
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.state() != State::Stopped {
            self.abandon(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
        }
    }
}
