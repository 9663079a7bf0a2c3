//! Many clients that say goodbye at once while the host reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use wse_engine::config::Config;
use wse_protocol::frame::{Opcode, push_masked_frame};
use wse_testkit::{Peer, Server, config};

/// Clients.
const PEERS: usize = 1000;

#[test]
fn a_thousand_closes_at_once_cost_a_thousand_closes() {
    let mut server = Server::start(Config { shards: 1, max_connections: PEERS, ..config() });
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| server.connect().0).collect();
    server.events.drain();
    let mut close = Vec::new();
    push_masked_frame(&mut close, true, Opcode::Close, &[3, 0xE9], [7; 4]);
    let (engine, most, done) = (Arc::clone(&server.engine), AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut gone = 0;
            while gone < PEERS {
                assert!(began.elapsed() < Duration::from_secs(30), "{gone} of {PEERS} left");
                gone += server.events.drain().len();
                std::thread::sleep(Duration::from_micros(50));
            }
            done.store(true, SeqCst);
        });
        scope.spawn(|| {
            while !done.load(SeqCst) && began.elapsed() < Duration::from_secs(30) {
                most.fetch_max(engine.health()["inbox_bytes"].as_u64().unwrap(), SeqCst);
            }
        });
        peers.iter_mut().for_each(|peer| peer.send_raw(&close));
    });
    // Each was answered, and nothing piled up in the mailbox for it.
    peers.iter_mut().for_each(|peer| drop(peer.expect_close(1001)));
    assert!(most.load(SeqCst) < 64 * 1024, "{} bytes in the mailbox", most.load(SeqCst));
    assert_eq!(engine.connection_count(), 0);
}
