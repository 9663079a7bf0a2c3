//! What drives a shard: one call does what there is to do for a while and never waits. A thread of its own calls it (`thread`), or
//! an event loop of the host. Decides nothing about messages.

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::{LocalSet, yield_now};

use super::turn::Turn;
use super::{Shard, SharedShard};
use crate::mailbox::Incoming;
use crate::reactor::{Reactor, Signal};
use crate::ready::ReadyQueue;
use crate::shared::Shared;
use crate::wheel::TICK_MS;

/// Handshakes served at once, if their requests are there, before anybody else has a turn.
const HANDSHAKES_AT_ONCE: usize = 61;

/// Handshakes are driven at least so often.
pub(super) const TICK: Duration = Duration::from_millis(TICK_MS as u64);

/// Events from which on the host's batch may grow before it is delivered, where that wakes another thread.
const SEVERAL_EVENTS: usize = 4;
/// Looks at the sockets for which that batch may grow, as long as each brings more.
const READ_ON_LOOKS: usize = 4;

/// What begins the handshake of an accepted socket, at once if it may; called on the shard's thread.
pub(crate) type Handshake = fn(Arc<Shared>, SharedShard, Incoming, bool);

/// Who calls a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The shard's own thread, which has nothing else to do.
    Thread,
    /// An event loop of the host, whose other handles want their turns.
    Host,
}

impl Caller {
    /// How long a call goes on before the sockets are asked again, or the host's other handles have their turn. What it has begun it
    /// ends: one connection's turn, or one step of a delivery.
    const fn budget(self) -> Duration {
        match self {
            Self::Thread => Duration::from_micros(250),
            Self::Host => Duration::from_millis(1),
        }
    }
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do: call again once the sockets were asked and others had their turn.
    More,
    /// There is nothing to do until a socket has news, a command comes, or the next tick.
    Idle,
    /// The shard has ended; calling again does nothing.
    Ended,
}

/// What a driver needs of the system: made where a failure can be told.
pub(crate) struct Equipment {
    poll: mio::Poll,
    waker: mio::Waker,
    runtime: Runtime,
}

impl Equipment {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), Signal::Wake.into())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(Self { poll, waker, runtime })
    }
}

/// A shard and what drives it.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    index: usize,
    caller: Caller,
    shard: SharedShard,
    ready: Arc<ReadyQueue>,
    reactor: Rc<Reactor>,
    handshake: Handshake,
    /// Sockets whose handshakes are to begin.
    arrivals: Vec<Incoming>,
    /// Handshakes under way; before the runtime, because their timers are its.
    tasks: LocalSet,
    /// Keeps the time of handshakes, and no more: sockets are the reactor's.
    runtime: Runtime,
    /// A handshake can go on.
    woken: Arc<Woken>,
    /// When the runtime last looked at the time.
    timed: Instant,
    /// The last step ran out of time.
    unfinished: bool,
    ended: bool,
}

impl Driver {
    /// A shard of an engine, on this thread from now on.
    pub(crate) fn new(
        shared: Arc<Shared>,
        index: usize,
        caller: Caller,
        handshake: Handshake,
        equipment: Equipment,
    ) -> io::Result<Self> {
        let Equipment { poll, waker, runtime } = equipment;
        let reactor = Reactor::new(poll)?;
        let shard = Shard::new(Arc::clone(&shared), index, Rc::clone(&reactor));
        let ready = Arc::clone(shard.ready());
        shared.shards[index].mailbox.run_here(waker);
        Ok(Self {
            woken: Arc::new(Woken { is_set: AtomicBool::new(false), shared: Arc::clone(&shared), index }),
            shared,
            index,
            caller,
            shard: Rc::new(RefCell::new(shard)),
            ready,
            reactor,
            handshake,
            arrivals: Vec::new(),
            tasks: LocalSet::new(),
            runtime,
            timed: Instant::now(),
            unfinished: false,
            ended: false,
        })
    }

    /// Where its sockets are registered.
    pub(crate) fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether there is something to do now.
    pub(crate) fn has_work(&self) -> bool {
        !self.ended
            && (!self.ready.is_empty()
                || self.shared.shards[self.index].mailbox.is_rung()
                || self.woken.is_set()
                || self.unfinished)
    }

    /// Whether time alone may give it something to do.
    pub(crate) fn needs_ticks(&self) -> bool {
        !self.ended && (self.shard.borrow().needs_ticks() || self.has_handshakes())
    }

    /// Serves sockets and works off commands until there is nothing more to do or the time of a call is over.
    /// `now`: the clock was read just before.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if self.ended {
            return Step::Ended;
        }
        self.shared.shards[self.index].mailbox.awake();
        let stepped = catch_unwind(AssertUnwindSafe(|| self.go_on(now)));
        let step = stepped.unwrap_or_else(|_| {
            // Something panicked where nothing closer by catches it. A shard nobody drives would let its mailbox fill and its
            // clients wait for ever, so it begins again without whom it served.
            self.begin_anew();
            Step::More
        });
        self.ended |= step == Step::Ended;
        self.unfinished = step == Step::More;
        if step == Step::Ended {
            // Nobody looks any more: whoever rings wakes the host.
            self.shared.shards[self.index].mailbox.sleep();
            self.shared.shards[self.index].mailbox.close();
        }
        if step == Step::Idle && !self.shared.shards[self.index].mailbox.may_sleep() {
            self.unfinished = true;
            return Step::More;
        }
        step
    }

    fn go_on(&mut self, began: Instant) -> Step {
        let budget = self.caller.budget();
        let over = || began.elapsed() >= budget;
        self.shard.borrow_mut().keep_time(began);
        if began - self.timed >= TICK && self.has_handshakes() {
            self.timed = began;
            self.runtime.block_on(yield_now());
        }
        self.shard.borrow_mut().wake_spent();
        self.shared.shards[self.index].turns.go_on();
        let shared = Arc::clone(&self.shared);
        let mailbox = &shared.shards[self.index].mailbox;
        loop {
            // What was published before goes out before what is read now is answered.
            if mailbox.is_empty() {
                self.serve_ready(over);
                self.read_on(over);
            }
            if self.shard.borrow().is_broken() {
                self.begin_anew();
            }
            mailbox.awake();
            let turn = step(&self.shard, &mut self.arrivals);
            self.shake_hands();
            match turn {
                Turn::More | Turn::Done => self.serve_ready(over),
                Turn::Idle => {}
                Turn::Ended => return Step::Ended,
            }
            let idle = turn != Turn::More && self.ready.is_empty() && !mailbox.is_rung() && !self.woken.is_set();
            if idle && self.shard.borrow().open_events() == 0 {
                let waits = self.shard.borrow().has_spent() || shared.shards[self.index].turns.is_waited_for();
                return if waits { Step::More } else { Step::Idle };
            }
            let now = Instant::now();
            if now - began >= budget {
                return Step::More;
            }
            self.shard.borrow_mut().keep_time(now);
        }
    }

    /// Serves connections that are ready, while there is time; one at least. What they have sent is acknowledged to all of them together.
    fn serve_ready(&self, over: impl Fn() -> bool) {
        while let Some(id) = self.ready.pop() {
            self.shard.borrow_mut().serve(id);
            if self.ready.is_empty() || over() {
                break;
            }
        }
        self.shard.borrow_mut().acknowledge();
    }

    /// Where several sockets are at it, those that are ready too are read before another thread is woken: every hand-over between
    /// the two then serves more messages. Who is alone does not wait.
    fn read_on(&self, over: impl Fn() -> bool) {
        if self.caller == Caller::Host {
            return;
        }
        let mut seen = SEVERAL_EVENTS - 1;
        for _ in 0..READ_ON_LOOKS {
            let open = self.shard.borrow().open_events();
            if open <= seen || over() {
                return;
            }
            seen = open;
            self.look();
            self.serve_ready(&over);
        }
    }

    /// Asks the sockets who is ready.
    fn look(&self) {
        // Only a poll that was set up wrongly fails.
        let _ = self.reactor.look(Some(Duration::ZERO), |_| {});
    }

    /// Gets rid of every connection, and of the shard itself if that does not succeed.
    fn begin_anew(&mut self) {
        self.shared.shards[self.index].counters.restarts.add(1);
        if !self.shard.borrow_mut().start_over() {
            let shard = Shard::new(Arc::clone(&self.shared), self.index, Rc::clone(&self.reactor));
            self.ready = Arc::clone(shard.ready());
            // Handshakes under way end in the new one.
            drop(self.shard.replace(shard));
        }
    }

    fn has_handshakes(&self) -> bool {
        self.shared.admission.len() > 0
    }

    /// Begins what has arrived, and drives the handshakes that can go on.
    fn shake_hands(&mut self) {
        let Self { shared, shard, arrivals, tasks, runtime, handshake, woken, .. } = self;
        if arrivals.is_empty() && !woken.is_set() {
            return;
        }
        let _runtime = runtime.enter();
        {
            let _tasks = tasks.enter();
            for (place, incoming) in arrivals.drain(..).enumerate() {
                handshake(Arc::clone(shared), Rc::clone(shard), incoming, place < HANDSHAKES_AT_ONCE);
            }
        }
        woken.take();
        let waker = Waker::from(Arc::clone(woken));
        let _ = Pin::new(tasks).poll(&mut Context::from_waker(&waker));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.shards[self.index].mailbox.run_nowhere();
    }
}

/// Notes that a task was woken, and wakes the shard.
struct Woken {
    is_set: AtomicBool,
    shared: Arc<Shared>,
    index: usize,
}

impl Woken {
    fn is_set(&self) -> bool {
        self.is_set.load(SeqCst)
    }

    fn take(&self) {
        self.is_set.store(false, SeqCst);
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_set.swap(true, SeqCst) {
            self.shared.shards[self.index].mailbox.nudge();
        }
    }
}

/// A turn. A panic in it is counted and costs the command or connection it met, never the thread: the rest of the batch is
/// the next turn's.
fn step(shard: &SharedShard, arrivals: &mut Vec<Incoming>) -> Turn {
    let turn = catch_unwind(AssertUnwindSafe(|| shard.borrow_mut().turn(arrivals)));
    turn.unwrap_or_else(|_| {
        shard.borrow_mut().recover();
        Turn::More
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::tests::arrive;
    use super::*;
    use crate::config::tests::config;
    use crate::mailbox::Command;

    #[test]
    fn a_handshake_that_panics_costs_its_socket_and_the_next_step_goes_on() {
        thread_local!(static HANDSHAKES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });
        fn panicking(_: Arc<Shared>, _: SharedShard, _: Incoming, _: bool) {
            assert!(HANDSHAKES.replace(HANDSHAKES.get() + 1) > 0, "the first one brings the shard down");
        }
        let shared = Arc::new(Shared::new(config()));
        let mut inline =
            Driver::new(Arc::clone(&shared), 0, Caller::Host, panicking, Equipment::new().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mailbox = &shared.shards[0].mailbox;
        for round in 1..=3 {
            arrive(&shared, &listener);
            assert!(inline.has_work());
            while inline.step(Instant::now()) == Step::More {}
            assert_eq!((HANDSHAKES.get(), mailbox.weight()), (round, 0));
        }
        assert_eq!(shared.shards[0].counters.restarts.get(), 1);
        assert_eq!(shared.admission.len(), 0, "the socket it met is closed");
        mailbox.command(Command::Stop);
        while inline.step(Instant::now()) != Step::Ended {}
        assert!(!inline.has_work() && !inline.needs_ticks());
    }
}
