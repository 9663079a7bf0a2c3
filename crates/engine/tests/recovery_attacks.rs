//! Recovery under attack: rights that end while a request waits, requests of those who have gone, an engine that stops, memory that
//! nobody gives back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use wse_engine::config::{Config, Recovery, RingPolicy};
use wse_engine::{ConnId, Outcome, Position, Settle, Unsettled};
use wse_protocol::close_code::CloseCode;
use wse_testkit::{Peer, Server, config, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn recovery() -> Recovery {
    Recovery {
        rules: Vec::new(),
        ring: Some(RingPolicy { size: 128, ttl: None }),
        memory_budget: 64 << 20,
        max_messages: 500,
        replay_rate: 1 << 30,
        connection_replay_rate: 1 << 30,
        last_values: Vec::new(),
    }
}

fn with(recovery: Recovery) -> Config {
    Config { recovery: Some(recovery), ..config() }
}

type Told = Receiver<Result<Outcome, Unsettled>>;

fn ask(server: &Server, id: ConnId, topics: &[(&str, Option<Position>)]) -> Told {
    let (tell, told) = channel();
    let topics: Vec<_> = topics.iter().map(|(name, from)| ((*name).to_owned(), *from)).collect();
    server.engine.subscribe_with_recovery(id, &topics, Settle::new(move |outcome| drop(tell.send(outcome))));
    told
}

fn await_outcome(told: &Told) -> Outcome {
    told.recv_timeout(PATIENCE).unwrap().unwrap()
}

/// Publishes `count` of about a kilobyte, and tells where the topic was before.
fn fill(server: &Server, topic: &str, count: usize) -> Position {
    let text = format!(r#"{{"p":"{}"}}"#, "x".repeat(1000));
    (0..count).for_each(|_| drop(std::hint::black_box(server.engine.broadcast(topic, &text))));
    Position { offset: 0, ..server.engine.topic_position(topic).unwrap() }
}

#[test]
fn where_nobody_knows_stamps_nothing_is_kept() {
    let mut server = Server::start(with(recovery()));
    let raw = Config {
        endpoints: vec![wse_engine::config::Endpoint { raw: true, ..Default::default() }],
        ..with(recovery())
    };
    let server_raw = Server::start(raw);
    (0..100).for_each(|n| drop(std::hint::black_box(server_raw.engine.broadcast(&format!("t{n}"), "{}"))));
    assert_eq!(["topics", "recovery_total_bytes"].map(|name| server_raw.health(name)), [0; 2]);
    let _ = server.connect();
}

#[test]
fn whoever_asks_while_the_engine_stops_is_told() {
    for round in 0..20 {
        let mut server = Server::start(with(recovery()));
        fill(&server, "a", 10);
        let peers: Vec<_> = (0..4).map(|_| server.connect()).collect();
        let over = Arc::new(AtomicBool::new(false));
        let askers: Vec<_> = peers
            .iter()
            .map(|(_, id)| {
                let (engine, id, over) = (Arc::clone(&server.engine), *id, Arc::clone(&over));
                std::thread::spawn(move || {
                    let mut asked = Vec::new();
                    while !over.load(Relaxed) && asked.len() < 20_000 {
                        let (tell, told) = channel();
                        let settle = Settle::new(move |outcome| drop(tell.send(outcome)));
                        engine.subscribe_with_recovery(id, &[("a".to_owned(), None)], settle);
                        asked.push(told);
                    }
                    asked
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(round % 5));
        server.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
        over.store(true, Relaxed);
        for asker in askers {
            for (index, told) in asker.join().unwrap().into_iter().enumerate() {
                assert!(told.recv_timeout(PATIENCE).is_ok(), "round {round}, request {index} is never told");
            }
        }
    }
}
