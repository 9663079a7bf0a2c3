//! What calls and bursts cost in memory, counted and not timed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wse_engine::Payloads;
use wse_engine::config::Config;
use wse_testkit::{Event, Peer, Request, Server, config, shard_thread, wait_until};

struct Counting;

/// Bytes the process holds.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// Held by tests that fill the memory of the process.
static HEAVY: Mutex<()> = Mutex::new(());

thread_local! {
    /// Bytes this thread has asked for.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system allocator unchanged; only counters are kept beside it, which allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + layout.size());
        HELD.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promises are those of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are those of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes this thread asks for during `work`.
fn asked(work: impl FnOnce()) -> usize {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

#[test]
fn looking_at_the_metrics_copies_no_name_that_is_not_shown() {
    const TOPICS: usize = 4000;
    const LENGTH: usize = 1000;
    let _alone = HEAVY.lock().unwrap();
    let mut server = Server::plain();
    let (_peer, id) = server.connect();
    let look = |server: &Server| {
        asked(|| {
            server.engine.prometheus();
            server.engine.health();
        })
    };
    let empty = look(&server);
    for name in 0..TOPICS {
        server.subscribe(id, &[&format!("{name:0LENGTH$}")]);
    }
    // Three are shown.
    for name in 0..3 {
        server.engine.broadcast(&format!("{name:0LENGTH$}"), "{}");
    }
    let full = look(&server);
    assert!(server.engine.prometheus().contains(&"0".repeat(LENGTH - 1)));
    assert!(full < empty + 100 * LENGTH, "{full} bytes instead of {empty} for {} of names", TOPICS * LENGTH);
}

/// The threads on which memory was given back.
static RELEASED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn release() {
    RELEASED.lock().unwrap().push(std::thread::current().name().unwrap_or_default().to_owned());
}

#[test]
fn the_memory_of_a_burst_is_given_back_by_its_shard_once_nobody_needs_it() {
    const MIB: usize = 1 << 20;
    const BURST: usize = 32 * MIB;
    let _alone = HEAVY.lock().unwrap();
    let mut server =
        Server::start(Config { max_outbound_bytes: 4 * BURST, release_memory: Some(release), shards: 1, ..config() });
    for _ in 0..2 {
        let peer = Peer::open_narrow(server.address, 4096).upgraded(&Request::default());
        let id = server.events.connected();
        let message = vec![7; MIB];
        for _ in 0..BURST / MIB {
            server.engine.send_bytes(id, &message);
        }
        // The kernel has taken some of it.
        wait_until("it is owed", || server.health("outbound_bytes") > BURST as u64 / 2);
        let before = RELEASED.lock().unwrap().len();
        drop(peer);
        assert_eq!(server.events.event(), Event::Disconnect(id));
        // Also where no connection is left whose time could come.
        wait_until("it is given back", || RELEASED.lock().unwrap().len() > before);
    }
    assert!(RELEASED.lock().unwrap().iter().all(|thread| thread == shard_thread()));
}

#[test]
fn who_stands_still_keeps_no_more_alive_than_its_budget() {
    const ROUNDS: usize = 200;
    const LARGE: usize = 256 << 10;
    const BUDGET: usize = 2 << 20;
    let _alone = HEAVY.lock().unwrap();
    let mut server = Server::start(Config { max_outbound_bytes: BUDGET, shards: 1, ..config() });
    let _still = Peer::open_narrow(server.address, 4096).upgraded(&Request::default());
    let id = server.events.connected();
    server.subscribe(id, &["t"]);
    let before = HELD.load(Relaxed);
    let large = "x".repeat(LARGE);
    // A delta and a snapshot in one batch: once the queue is full the deltas still fit, each beside a snapshot that does not.
    for _ in 0..ROUNDS {
        server.engine.publish("t", Payloads::Texts(&["delta", &large]), None);
        wait_until("it is worked off", || server.health("inbox_bytes") == 0);
    }
    let held = HELD.load(Relaxed).saturating_sub(before);
    assert!(server.health("slow_consumer_drops") > 0, "the queue was never full");
    assert!(server.health("outbound_bytes") <= BUDGET as u64);
    assert!(held < 4 * BUDGET, "{held} bytes are held for a budget of {BUDGET}, {} were published", ROUNDS * LARGE);
}
