//! A publisher who waits when it is told to: it loses nothing to whoever keeps reading, and waits for nobody who does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wse_engine::config::Config;
use wse_engine::{Engine, Pressure};
use wse_protocol::frame::Opcode;
use wse_testkit::{Event, Peer, Request, Server, config, wait_until};

/// Bytes of a published message.
const SIZE: usize = 1000;
/// Nobody may wait for longer than this without a reason that ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A subscriber in a thread of its own: takes so many messages, then rests, again and again.
struct Reader {
    got: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(mut peer: Peer, messages: u64, rest: Duration) -> Self {
        let (got, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, ended) = (Arc::clone(&got), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            peer.patience(Duration::from_secs(20));
            let mut expected = 0;
            while let Ok(frame) = peer.try_frame() {
                let text = frame.text();
                if text == "end" {
                    return;
                }
                if frame.opcode == Opcode::Ping {
                    continue;
                }
                // In order; what was lost is missing, and never comes later.
                let number: u64 = text.split_once(' ').unwrap().0.parse().unwrap();
                assert!(number >= expected, "{number} after {expected}");
                expected = number + 1;
                if (count.fetch_add(1, Relaxed) + 1).is_multiple_of(messages) && !ended.load(Relaxed) {
                    std::thread::sleep(rest);
                }
            }
        });
        Self { got, stop, thread }
    }

    /// Reads what is left as fast as it can, and says how much it was in all.
    fn finish(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap();
        self.got.load(Relaxed)
    }
}

/// Publishes for `time` and waits whenever it is told to; returns how many messages it published, and how many of them in the
/// last second.
fn publish(engine: &Engine, time: Duration) -> (u64, u64) {
    publish_from(0, engine, time)
}

/// As [`publish`], with numbers from `first` on.
fn publish_from(first: u64, engine: &Engine, time: Duration) -> (u64, u64) {
    let filler = "x".repeat(SIZE);
    let began = Instant::now();
    let (mut published, mut late) = (0, 0);
    while began.elapsed() < time {
        let pressure = engine.broadcast("t", &format!("{} {filler}", first + published));
        assert_ne!(pressure, Pressure::Refused, "an obedient publisher never meets the hard limit");
        published += 1;
        late += u64::from(began.elapsed() > time - Duration::from_secs(1));
        let waiting = Instant::now();
        while engine.pressure() != Pressure::Fine && began.elapsed() < time {
            assert!(waiting.elapsed() < PATIENCE, "publishers are held for ever");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    (published, late)
}

/// A server with readers that rest after so many messages.
fn readers(config: Config, paces: &[(u64, Duration)]) -> (Server, Vec<Reader>) {
    let mut server = Server::start(Config { shards: 1, ..config });
    let mut readers = Vec::new();
    for &(messages, rest) in paces {
        let (peer, id) = server.connect();
        server.subscribe(id, &["t"]);
        readers.push(Reader::start(peer, messages, rest));
    }
    (server, readers)
}

/// Everything published has left the engine, then everybody is told that it is over.
fn end(server: &Server) {
    wait_until("everything is written", || server.health("inbox_bytes") + server.health("outbound_bytes") == 0);
    server.engine.broadcast("t", "end");
}

#[test]
fn steady_readers_slower_than_the_publisher_lose_nothing_however_long_it_takes() {
    // About 1 MB/s each; a budget that an unheld publisher fills in milliseconds.
    let pace = (20, Duration::from_millis(20));
    let budget = Config { max_outbound_bytes: 4 << 20, ..config() };
    let (server, all) = readers(budget, &[pace; 5]);
    let (published, _) = publish(&server.engine, Duration::from_secs(5));
    assert!(published > 2_000, "{published}");
    all.iter().for_each(|reader| reader.stop.store(true, Relaxed));
    end(&server);
    for reader in all {
        assert_eq!(reader.finish(), published);
    }
    assert_eq!((server.health("slow_consumer_drops"), server.health("slow_consumers")), (0, 0));
}

#[test]
fn a_single_reader_sets_the_pace() {
    let (server, all) = readers(Config { max_outbound_bytes: 2 << 20, ..config() }, &[(20, Duration::from_millis(20))]);
    let (published, _) = publish(&server.engine, Duration::from_secs(4));
    all.iter().for_each(|reader| reader.stop.store(true, Relaxed));
    end(&server);
    for reader in all {
        assert_eq!(reader.finish(), published);
    }
    assert_eq!(server.health("slow_consumer_drops"), 0);
}

#[test]
fn one_of_many_that_is_only_somewhat_slower_loses_nothing() {
    let (pace, slower) = ((20, Duration::from_millis(20)), (20, Duration::from_millis(35)));
    let budget = Config { max_outbound_bytes: 16 << 20, ..config() };
    let (server, all) = readers(budget, &[pace, pace, pace, pace, pace, pace, pace, slower]);
    let (published, _) = publish(&server.engine, Duration::from_secs(5));
    all.iter().for_each(|reader| reader.stop.store(true, Relaxed));
    end(&server);
    for reader in all {
        assert_eq!(reader.finish(), published);
    }
    // It may be taken for slow until it was compared with the others: its budget holds what it owes meanwhile.
    assert_eq!(server.health("slow_consumer_drops"), 0);
}

#[test]
fn one_of_many_that_is_much_slower_is_not_waited_for_and_alone_loses_frames() {
    let fast = (u64::MAX, Duration::ZERO);
    let slow = (20, Duration::from_millis(200));
    let (server, mut all) =
        readers(Config { max_outbound_bytes: 1 << 20, ..config() }, &[fast, fast, fast, fast, fast, fast, fast, slow]);
    let (published, late) = publish(&server.engine, Duration::from_secs(5));
    // 100 messages a second is what the slow one takes; the others take all that the machine has to give.
    assert!(late > 400, "{late} in the last second: publishers wait for the slow one");
    assert!(server.health("slow_consumers") >= 1);
    all.iter().for_each(|reader| reader.stop.store(true, Relaxed));
    end(&server);
    let slow = all.pop().unwrap().finish();
    for reader in all {
        assert_eq!(reader.finish(), published, "those who keep up lose nothing");
    }
    assert_eq!(published - slow, server.health("slow_consumer_drops"));
    assert!(slow < published);
}

#[test]
fn who_stands_still_holds_nobody_for_long_even_alone() {
    let (server, all) = readers(Config { max_outbound_bytes: 1 << 20, ..config() }, &[(1, Duration::from_secs(8))]);
    let (_, late) = publish(&server.engine, Duration::from_secs(5));
    assert!(late > 400, "{late} in the last second: publishers wait for one that stands still");
    assert!(server.health("slow_consumer_drops") > 0 && server.health("slow_consumers") >= 1);
    assert_eq!(server.health("pressing_connections"), 0);
    drop(server);
    assert_eq!(all.into_iter().map(Reader::finish).count(), 1);
}

#[test]
fn pressure_comes_from_time_and_not_from_bytes() {
    // 200 connections: what waits is worth far more deliveries than bytes.
    let mut server = Server::start(Config { shards: 1, ..config() });
    let readers: Vec<Reader> = (0..200)
        .map(|_| {
            let (peer, id) = server.connect();
            server.subscribe(id, &["t"]);
            Reader::start(peer, u64::MAX, Duration::ZERO)
        })
        .collect();
    let (published, _) = publish(&server.engine, Duration::from_secs(3));
    let mark = server.health("inbox_mark_bytes");
    assert!(mark < server.health("inbox_high_water_bytes") / 4, "{mark} bytes may wait");
    end(&server);
    for reader in readers {
        assert_eq!(reader.finish(), published);
    }
}

#[test]
fn one_that_reads_nothing_and_connects_anew_again_and_again_does_not_stop_the_others() {
    let fast = (u64::MAX, Duration::ZERO);
    let (mut server, all) = readers(config(), &[fast; 8]);
    let (engine, address) = (Arc::clone(&server.engine), server.address);
    let (before, alone) = publish(&engine, Duration::from_secs(2));
    let over = AtomicBool::new(false);
    let late = std::thread::scope(|scope| {
        // The host lets whoever comes subscribe.
        scope.spawn(|| {
            while !over.load(Relaxed) {
                for event in server.events.drain() {
                    if let Event::Connect(id, ..) = event {
                        server.engine.subscribe(id, &["t".to_owned()], None);
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        scope.spawn(|| {
            let mut last = None;
            while !over.load(Relaxed) {
                drop(last.replace(Peer::open_narrow(address, 4096).upgraded(&Request::default())));
                std::thread::sleep(Duration::from_millis(600));
            }
        });
        let (_, late) = publish_from(before, &engine, Duration::from_secs(6));
        over.store(true, Relaxed);
        late
    });
    // It may hold publishers for a quarter of the time; held for all of it, they came to a fiftieth.
    assert!(late > alone / 10, "{late} in the last second, {alone} without it");
    wait_until("everything is written", || {
        server.health("inbox_bytes") == 0 && server.health("pressing_connections") == 0
    });
    server.engine.broadcast("t", "end");
    all.into_iter().for_each(|reader| assert!(reader.finish() > 0));
}
