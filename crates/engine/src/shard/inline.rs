//! A shard on an event loop of the host: what one call of that loop does, without ever waiting. The second driver of the one
//! shard code; `driver` is the other. Decides nothing about messages.

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

use super::driver::{HANDSHAKES_AT_ONCE, Handshake, step};
use super::turn::Turn;
use super::{Shard, SharedShard};
use crate::mailbox::Incoming;
use crate::reactor::{Reactor, Signal};
use crate::ready::ReadyQueue;
use crate::shared::Shared;
use crate::wheel::TICK_MS;

/// How long a call goes on serving before the host's other handles have their turn. What it has begun it ends: one connection's
/// turn, or one step of a delivery.
const BUDGET: Duration = Duration::from_millis(1);

/// Handshakes are driven at least so often.
const TICK: Duration = Duration::from_millis(TICK_MS as u64);

/// What a call of the host's event loop came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do: call again once the host's other handles had their turn.
    More,
    /// There is nothing to do until a socket has news, a command comes, or the next tick.
    Idle,
    /// The shard has ended; calling again does nothing.
    Ended,
}

/// A shard and what drives it on the host's thread.
pub(crate) struct InlineShard {
    shared: Arc<Shared>,
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

impl InlineShard {
    /// The one shard of an engine, on this thread.
    pub(crate) fn new(shared: Arc<Shared>, handshake: Handshake) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let waker = mio::Waker::new(reactor.registry(), Signal::Wake.into())?;
        let shard = Shard::new(Arc::clone(&shared), 0, Some(Rc::clone(&reactor)));
        let ready = Arc::clone(shard.ready());
        shared.shards[0].mailbox.run_here(waker);
        Ok(Self {
            shared,
            shard: Rc::new(RefCell::new(shard)),
            ready,
            reactor,
            handshake,
            arrivals: Vec::new(),
            tasks: LocalSet::new(),
            runtime,
            woken: Arc::default(),
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
                || self.shared.shards[0].mailbox.is_rung()
                || self.woken.is_set()
                || self.unfinished)
    }

    /// Whether time alone may give it something to do.
    pub(crate) fn needs_ticks(&self) -> bool {
        !self.ended && (self.shard.borrow().needs_ticks() || self.has_handshakes())
    }

    /// Serves sockets and works off commands until there is nothing more to do or the time of a call is over.
    pub(crate) fn step(&mut self) -> Step {
        if self.ended {
            return Step::Ended;
        }
        let stepped = catch_unwind(AssertUnwindSafe(|| self.go_on()));
        let step = stepped.unwrap_or_else(|_| {
            // As in `driver`: it begins again without whom it served.
            self.shared.shards[0].counters.restarts.add(1);
            if self.shard.borrow_mut().start_over() { Step::More } else { Step::Ended }
        });
        self.ended |= step == Step::Ended;
        self.unfinished = step == Step::More;
        step
    }

    fn go_on(&mut self) -> Step {
        let began = Instant::now();
        let over = || began.elapsed() >= BUDGET;
        if began - self.timed >= TICK && self.has_handshakes() {
            self.timed = began;
            self.runtime.block_on(yield_now());
        }
        let shared = Arc::clone(&self.shared);
        let mailbox = &shared.shards[0].mailbox;
        loop {
            // What was published before goes out before what is read now is answered.
            if mailbox.is_empty() {
                self.serve_ready(over);
            }
            if self.shard.borrow().is_broken() {
                self.shared.shards[0].counters.restarts.add(1);
                if !self.shard.borrow_mut().start_over() {
                    return Step::Ended;
                }
            }
            mailbox.heard();
            let turn = step(&self.shard, &mut self.arrivals);
            self.shake_hands();
            match turn {
                Turn::More | Turn::Done => self.serve_ready(over),
                Turn::Idle => {}
                Turn::Ended => return Step::Ended,
            }
            let idle = turn != Turn::More && self.ready.is_empty() && !mailbox.is_rung() && !self.woken.is_set();
            if idle && self.shard.borrow().open_events() == 0 {
                return Step::Idle;
            }
            if over() {
                return Step::More;
            }
        }
    }

    /// Serves connections that are ready, while there is time; one at least.
    fn serve_ready(&self, over: impl Fn() -> bool) {
        while let Some(id) = self.ready.pop() {
            self.shard.borrow_mut().serve(id);
            if over() {
                return;
            }
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

/// Notes that a task was woken; the loop looks.
#[derive(Default)]
struct Woken(AtomicBool);

impl Woken {
    fn is_set(&self) -> bool {
        self.0.load(SeqCst)
    }

    fn take(&self) {
        self.0.store(false, SeqCst);
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
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
        let mut inline = InlineShard::new(Arc::clone(&shared), panicking).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mailbox = &shared.shards[0].mailbox;
        for round in 1..=3 {
            arrive(&shared, &listener);
            assert!(inline.has_work());
            while inline.step() == Step::More {}
            assert_eq!((HANDSHAKES.get(), mailbox.weight()), (round, 0));
        }
        assert_eq!(shared.shards[0].counters.restarts.get(), 1);
        assert_eq!(shared.admission.len(), 0, "the socket it met is closed");
        mailbox.command(Command::Stop);
        while inline.step() != Step::Ended {}
        assert!(!inline.has_work() && !inline.needs_ticks());
    }
}
