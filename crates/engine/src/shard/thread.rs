//! The thread of a shard: calls its driver, and sleeps while that has nothing to do.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::driver::{Caller, Driver, Equipment, Handshake, Step, TICK};
use crate::shared::Shared;

/// Spawns the thread of shard `index`.
pub(crate) fn spawn(shared: Arc<Shared>, index: usize, handshake: Handshake) -> io::Result<JoinHandle<()>> {
    let equipment = Equipment::new()?;
    std::thread::Builder::new().name(format!("wse-shard-{index}")).spawn(move || {
        // What may fail is made already; only the system's refusal to name a descriptor twice is left.
        let Ok(mut driver) = Driver::new(shared, index, Caller::Thread, handshake, equipment) else { return };
        loop {
            let wait = match driver.step(Instant::now()) {
                Step::More => Some(Duration::ZERO),
                Step::Idle => driver.needs_ticks().then_some(TICK),
                Step::Ended => return,
            };
            if driver.reactor().look(wait, |_| {}).is_err() {
                // Only a poll that was set up wrongly fails; going on at once would be spinning.
                std::thread::sleep(TICK);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::super::tests::{arrive, wait_until};
    use super::*;
    use crate::config::tests::config;
    use crate::mailbox::{Command, Incoming};
    use crate::shard::SharedShard;

    /// Sockets that came as far as a handshake.
    static HANDSHAKES: AtomicUsize = AtomicUsize::new(0);

    fn panicking(_: Arc<Shared>, _: SharedShard, _: Incoming, _: bool) {
        assert!(HANDSHAKES.fetch_add(1, SeqCst) > 0, "the first one brings the shard down");
    }

    #[test]
    fn a_shard_whose_loop_panics_begins_again_and_works_its_mailbox_off() {
        let shared = Arc::new(Shared::new(config()));
        let thread = spawn(Arc::clone(&shared), 0, panicking).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mailbox = &shared.shards[0].mailbox;
        for round in 1..=3 {
            arrive(&shared, &listener);
            wait_until(|| HANDSHAKES.load(SeqCst) == round && mailbox.weight() == 0);
        }
        let counters = &shared.shards[0].counters;
        assert_eq!((counters.restarts.get(), counters.panics.get()), (1, 1));
        assert_eq!(shared.admission.len(), 0, "the socket it met is closed");
        mailbox.command(Command::Stop);
        thread.join().unwrap();
    }
}
