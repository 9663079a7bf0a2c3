//! What a publisher feels while a shard does not keep up: the high-water mark, the hard limit, and the moment both are past.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use wse_engine::config::Config;
use wse_engine::{ConnId, Pressure, SendEventOutcome as Sent};
use wse_testkit::{Peer, Server, config, wait_until};

const HIGH: usize = 128 * 1024;
const HARD: usize = 512 * 1024;

fn bytes(server: &Server, name: &str) -> usize {
    usize::try_from(server.health(name)).unwrap()
}
/// What a command weighs beside its bytes, at most.
const COMMAND: usize = 100;

fn server() -> (Server, Peer, ConnId) {
    let mut server = Server::start(Config { high_water_mark: HIGH, hard_limit: HARD, shards: 1, ..config() });
    let (peer, id) = server.connect();
    server.subscribe(id, &["t"]);
    server.engine.subscribe(id, &["jobs".to_owned()], Some("g"));
    wait_until("it is subscribed", || server.health("inbox_bytes") == 0);
    (server, peer, id)
}

/// Does `work` while the only shard stands still: its thread is held in the wake of the consumer.
fn while_stalled<R>(server: &mut Server, peer: &mut Peer, work: impl FnOnce(&Server) -> R) -> R {
    let (gate, stalled) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(false)));
    let closed = gate.lock().unwrap();
    let (passage, flag) = (Arc::clone(&gate), Arc::clone(&stalled));
    server.events.drain();
    server.events.on_batch(Some(Arc::new(move || {
        flag.store(true, SeqCst);
        drop(passage.lock());
    })));
    server.events.drain();
    peer.send_text("stall");
    wait_until("the shard stands still", || stalled.load(SeqCst));
    let result = work(server);
    server.events.on_batch(None);
    drop(closed);
    wait_until("the inbox is worked off", || server.health("inbox_bytes") == 0);
    result
}

#[test]
fn pressure_rises_at_the_mark_and_nothing_is_taken_above_the_hard_limit() {
    let (mut server, mut peer, id) = server();
    let drained = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&drained);
    server.engine.on_writable(Arc::new(move || {
        counter.fetch_add(1, SeqCst);
    }));
    let filler = "x".repeat(10_000);
    let accepted = while_stalled(&mut server, &mut peer, |server| {
        let (mut accepted, mut refused) = (Vec::new(), 0);
        // It follows the time that delivery takes, and stays below what the host allows.
        let mark = bytes(server, "inbox_mark_bytes");
        assert!((1024..=HIGH).contains(&mark), "{mark}");
        for n in 0..200 {
            let waiting = bytes(server, "inbox_bytes");
            match server.engine.broadcast("t", &format!("{n} {filler}")) {
                Pressure::Refused => {
                    refused += 1;
                    assert!(waiting + 10_000 > HARD - COMMAND, "refused at {waiting}");
                }
                pressure => {
                    accepted.push(n);
                    // In between it depends on what the command weighs.
                    let (least, most) = (waiting + 10_000, waiting + 10_000 + COMMAND);
                    assert!(most > mark || pressure == Pressure::Fine, "{waiting} of {mark}");
                    assert!(least <= mark || pressure == Pressure::High, "{waiting} of {mark}");
                }
            }
            assert!(server.health("inbox_bytes") <= HARD as u64);
        }
        // What still fits is taken.
        assert_eq!(server.engine.send(id, "small"), Some(Pressure::High));
        assert!(refused > 100 && accepted.len() > 40);
        assert_eq!(server.metric("wse_publish_refused_total"), f64::from(refused));
        assert_eq!((server.engine.pressure(), drained.load(SeqCst)), (Pressure::High, 0));
        accepted
    });
    wait_until("publishers are told", || drained.load(SeqCst) >= 1);
    assert_eq!(server.engine.broadcast("t", "end"), Pressure::Fine);
    let mut got = Vec::new();
    while let Some((n, rest)) = peer.text().split_once(' ') {
        assert_eq!(rest.len(), filler.len());
        got.push(n.parse::<i32>().unwrap());
    }
    assert_eq!(got, accepted, "taken or refused, nothing in between");
    assert_eq!((peer.text(), server.health("slow_consumer_drops")), ("end".into(), 0));
}

#[test]
fn every_way_out_respects_the_hard_limit() {
    let (mut server, mut peer, id) = server();
    let engine = Arc::clone(&server.engine);
    let filler = "x".repeat(50_000);
    let mut event = serde_json::Map::new();
    event.insert("t".into(), filler.as_str().into());
    type Publish<'a> = Box<dyn Fn() -> bool + 'a>;
    let ways: [(&str, Publish<'_>); 6] = [
        ("broadcast", Box::new(|| engine.broadcast("t", &filler) == Pressure::Refused)),
        ("broadcast_all", Box::new(|| engine.broadcast_all(&filler) == Pressure::Refused)),
        ("broadcast_all_bytes", Box::new(|| engine.broadcast_all_bytes(filler.as_bytes()) == Pressure::Refused)),
        ("send", Box::new(|| engine.send(id, &filler) == Some(Pressure::Refused))),
        ("queue group", Box::new(|| engine.broadcast("jobs", &filler) == Pressure::Refused)),
        ("send_event", Box::new(|| engine.send_event(id, event.clone(), 0) == Sent::Refused)),
    ];
    for (name, publish) in &ways {
        let taken = while_stalled(&mut server, &mut peer, |server| {
            let taken = (0..100).take_while(|_| !publish()).count();
            // `send_event` looks before it knows its size: it may end above the limit by one event.
            assert!(bytes(server, "inbox_bytes") <= HARD + 51_000, "{name}");
            taken
        });
        assert!((5..=11).contains(&taken), "{name}: {taken} messages of 50 KB");
        for _ in 0..taken {
            assert!(peer.frame().payload.len() >= 50_000);
        }
    }
    assert_eq!(server.health("slow_consumer_drops"), 0);
}
