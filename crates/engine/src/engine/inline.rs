//! An engine on an event loop of the host: no thread, one shard, and the host calls it. For hosts that have one core, and for
//! those whose work is one request at a time. The descriptor is for the host's loop to watch; nothing here waits unless asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wse_protocol::close_code::CloseCode;

pub use crate::shard::Step;

use super::Engine;
use crate::error::EngineError;
use crate::inbound::{Consumer, Taken};
use crate::mailbox::Command;
use crate::net::{self, Acceptor};
use crate::reactor::Signal;
use crate::shard::{Caller, Driver, Equipment};
use crate::wheel::TICK_MS;

/// How long a blocking call waits before time alone may give the shard something to do.
const TICK: Duration = Duration::from_millis(TICK_MS as u64);

/// An address that is bound and nobody accepts at yet, if there is a port to bind.
pub struct Bound(Option<net::Listening>);

/// The running part of an engine that has no threads. Stays on the thread that started it; dropping it drops the connections.
pub struct Inline {
    shard: Driver,
    acceptor: Option<Acceptor>,
    /// Sockets wait to be accepted: at once, or at a time.
    accept: Option<Instant>,
    /// When [`Self::step`] was called last.
    stepped: Instant,
    address: Option<SocketAddr>,
}

impl Engine {
    /// The first half of a start without threads: binds the address, from any thread. Blocks for as long as the name
    /// resolves.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn bind(&self) -> Result<Bound, EngineError> {
        self.check_startable()?;
        net::bind(&self.shared.config).map(Bound)
    }

    /// The other half, on the thread whose event loop is to call [`Inline::step`] from now on. The engine has one shard.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_inline(&self, bound: Bound) -> Result<Inline, EngineError> {
        let mut threads = self.threads.lock();
        self.check_startable()?;
        let shard = Driver::new(Arc::clone(&self.shared), 0, Caller::Host, net::handshake, Equipment::new()?)?;
        let address = bound.0.as_ref().map(net::Listening::address).transpose()?.flatten();
        let accept = |listener| {
            let (registry, token) = (shard.reactor().registry(), Signal::Connects.into());
            Acceptor::new(listener, Arc::clone(&self.shared), registry, token)
        };
        let acceptor = bound.0.map(accept).transpose()?;
        threads.inline = true;
        self.shared.inline.store(true, std::sync::atomic::Ordering::SeqCst);
        self.enter_running();
        Ok(Inline { shard, acceptor, accept: None, stepped: Instant::now(), address })
    }

    /// As [`Self::wait_batch`] on the thread that runs the engine: nothing would come while it only waited.
    pub fn wait_batch_inline(
        &self,
        inline: &mut Inline,
        consumer: &Consumer,
        (max, columns): (usize, bool),
        timeout: Duration,
        out: &mut [u8],
    ) -> Taken {
        let deadline = Instant::now() + timeout;
        loop {
            let step = inline.step(true);
            let taken = self.take_batch(consumer, max, columns, out);
            let now = Instant::now();
            if taken != Taken::Nothing || now >= deadline || step == Step::Ended {
                return taken;
            }
            // Taking may have rung on this very thread, which wakes nobody.
            if step == Step::Idle && !inline.has_work() {
                inline.wait((deadline - now).min(TICK));
            }
        }
    }

    /// As [`Self::abandon`] on the thread that runs the engine.
    pub fn abandon_inline(&self, inline: &mut Inline, code: CloseCode, reason: &str, timeout: Duration) {
        self.shared.draining.store(true, std::sync::atomic::Ordering::SeqCst);
        self.shut();
        let deadline = Instant::now() + timeout;
        self.shared.asking.close();
        self.close_all(code, reason);
        while !self.shared.is_empty() && Instant::now() < deadline && inline.step(true) != Step::Ended {
            inline.wait(Duration::from_millis(1));
        }
        self.shared.shards[0].mailbox.command(Command::Stop);
        // What is in the mailbox is bounded, and nobody adds to it.
        while inline.step(true) != Step::Ended && Instant::now() < deadline + timeout {}
        inline.end();
        self.abandon(code, reason, Duration::ZERO);
    }
}

impl Inline {
    /// Where it listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The descriptor that is readable while [`Self::step`] has something to do because of a socket or of another thread.
    #[cfg(unix)]
    pub fn poll_fd(&self) -> std::os::fd::RawFd {
        self.shard.reactor().poll_fd()
    }

    /// Does what there is to do, for about a millisecond, and never waits. `look`: asks the sockets for news first.
    pub fn step(&mut self, look: bool) -> Step {
        // After a while of silence the sockets are asked in any case: what they hold counts before what time has done to them.
        let now = Instant::now();
        if look || now.duration_since(std::mem::replace(&mut self.stepped, now)) >= TICK {
            self.look(Duration::ZERO, now);
        }
        if self.accept.is_some_and(|at| now >= at) {
            self.accept_some();
        }
        let step = self.shard.step(now);
        if step == Step::Ended {
            self.end();
        }
        step
    }

    /// Whether [`Self::step`] has something to do that no socket announces: commands of this thread, or what a step left.
    pub fn has_work(&self) -> bool {
        self.shard.has_work() || self.accept.is_some_and(|at| Instant::now() >= at)
    }

    /// What wakes the event loop of the thread this belongs to, from any other thread; on its own thread it does nothing.
    pub fn alarm(&self) -> impl Fn() + Send + Sync + use<> {
        let shared = Arc::clone(self.shard.shared());
        move || shared.shards[0].mailbox.nudge()
    }

    /// Whether it has to be called every 100 ms, whatever happens.
    pub fn needs_ticks(&self) -> bool {
        self.shard.needs_ticks() || self.accept.is_some()
    }

    /// Waits for news up to `timeout`; the next [`Self::step`] sees to it.
    pub fn wait(&mut self, timeout: Duration) {
        let now = Instant::now();
        let until = self.accept.map_or(timeout, |at| at.saturating_duration_since(now).min(timeout));
        self.look(until, now);
    }

    /// Sockets that wait to be accepted are accepted from `now` on.
    fn look(&mut self, timeout: Duration, now: Instant) {
        let mut connects = false;
        // Only a poll that was set up wrongly fails.
        let _ = self.shard.reactor().look(Some(timeout), |signal| connects |= signal == Signal::Connects);
        if connects {
            self.accept = Some(now);
        }
    }

    fn accept_some(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        self.accept = acceptor.accept().map(|pause| Instant::now() + pause);
    }

    /// Closes the listening socket; the shard has ended.
    fn end(&mut self) {
        (self.acceptor, self.accept) = (None, None);
        self.shard.shared().inline_ended.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        self.end();
    }
}
