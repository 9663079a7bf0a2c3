//! Every order in which publishers and somebody who recovers can get at a topic's line and at the mailboxes, with the code that ships:
//! in all of them each shard sees one line of offsets, and reply, replay and live frames are one sequence.

use std::sync::Arc;

use shuttle::thread;
use wse_protocol::frame::parse_header;

use super::{Payloads, Shared};
use crate::config::tests::config;
use crate::config::{Config, Recovery, RingPolicy};
use crate::id::ConnId;
use crate::lock::watch;
use crate::mailbox::Command;
use crate::recovery::{Answer, Asked, Request, Settle, Wish};
use crate::topics::{Missed, Position};

fn shared(shards: usize) -> Arc<Shared> {
    let recovery = Recovery {
        rules: Vec::new(),
        ring: Some(RingPolicy { size: 16, ttl: None }),
        memory_budget: 1 << 20,
        max_messages: 100,
        replay_rate: 1 << 20,
        connection_replay_rate: 1 << 20,
        last_values: Vec::new(),
    };
    let shared = Shared::new(Config { shards, max_connections: 1, recovery: Some(recovery), ..config() });
    (0..shards).for_each(|shard| drop(shared.topics.add("t", shard)));
    Arc::new(shared)
}

fn publish(shared: &Shared, texts: &[&str]) {
    shared.publish("t", Payloads::Texts(texts), None);
}

fn recover(shared: &Shared, shard: usize, from: Option<Position>) {
    let entry = shared.topics.add("t", shard).unwrap();
    let asked = Asked { entry, registered: true, covered: false, wish: from.map_or(Wish::Last, Wish::Missed) };
    let answer = Answer::Host(Settle::new(|_| ()));
    shared.recover(Request { to: ConnId::new(shard, 0, 1), topics: vec![asked], answer });
}

/// Offset and publication of each whole frame.
fn stamps(mut frames: &[u8]) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    while let Ok(Some(header)) = parse_header(frames) {
        let end = header.size + usize::try_from(header.payload).unwrap();
        let text: serde_json::Value = serde_json::from_slice(&frames[header.size..end]).unwrap();
        found.push((text["o"].as_u64().unwrap(), text["p"].to_string()));
        frames = &frames[end..];
    }
    found
}

/// What a mailbox holds: what was published, and where in it somebody recovered, with the position it was told and what it missed.
type Recovered = (usize, u64, Option<Vec<(u64, String)>>);

fn contents(shared: &Shared, shard: usize) -> (Vec<(u64, String)>, Vec<Recovered>) {
    let (mut published, mut recovered) = (Vec::new(), Vec::new());
    let Some(batch) = shared.shards[shard].mailbox.take() else { return (published, recovered) };
    for command in &batch.list {
        match command {
            Command::Publish { run, .. } => published.extend(stamps(run.of(&batch.arena))),
            Command::Recover(recover) => {
                let found = &recover.topics[0];
                let missed = match &found.missed {
                    Some(Missed::Frames(slices)) => {
                        Some(slices.iter().flat_map(|slice| stamps(slice.bytes())).collect())
                    }
                    _ => None,
                };
                recovered.push((published.len(), found.at.unwrap().offset, missed));
            }
            _ => panic!("nothing else was asked for"),
        }
    }
    (published, recovered)
}

/// Publications before anything is watched.
const BEFORE: u64 = 2;

/// Holds what the mailboxes got of `count` publications against the promise.
fn check(shared: &Shared, count: u64) {
    let all: Vec<_> = (0..shared.shards.len()).map(|shard| contents(shared, shard)).collect();
    let (order, _) = &all[0];
    assert!(
        order.iter().map(|(offset, _)| *offset).eq(BEFORE + 1..=BEFORE + count),
        "an offset each, in order: {order:?}"
    );
    for (published, recovered) in &all {
        assert_eq!(published, order, "one order for all shards");
        for (before, at, missed) in recovered {
            assert_eq!(*at, BEFORE + *before as u64, "what stands behind the command is what comes after the position");
            if let Some(missed) = missed {
                let last = (BEFORE, r#""b""#.to_owned());
                assert!(
                    missed.iter().eq([&last].into_iter().chain(&order[..*before])),
                    "all it missed, in order: {missed:?}"
                );
            }
        }
    }
}

/// What is published before anything is watched, and a position in the middle of it.
fn begun(shared: &Shared) -> Position {
    publish(shared, &[r#"{"p":"a"}"#, r#"{"p":"b"}"#]);
    (0..shared.shards.len()).for_each(|shard| drop(contents(shared, shard)));
    Position { offset: BEFORE - 1, ..shared.position("t").unwrap() }
}

/// Runs these beside each other, the last one on the thread that checks.
fn beside(shared: &Arc<Shared>, others: Vec<fn(&Shared, Position)>, own: fn(&Shared, Position), from: Position) {
    let others: Vec<_> = others
        .into_iter()
        .map(|work| {
            let shared = Arc::clone(shared);
            thread::spawn(move || work(&shared, from))
        })
        .collect();
    own(shared, from);
    others.into_iter().for_each(|other| other.join().unwrap());
}

/// Publishes one alone.
fn one(shared: &Shared, _: Position) {
    publish(shared, &[r#"{"p":"c"}"#]);
}

/// Publishes two together.
fn pair(shared: &Shared, _: Position) {
    publish(shared, &[r#"{"p":"d"}"#, r#"{"p":"e"}"#]);
}

/// Publishes one after the other.
fn two(shared: &Shared, from: Position) {
    one(shared, from);
    publish(shared, &[r#"{"p":"f"}"#]);
}

/// Has one shard's connection recover.
fn back(shared: &Shared, from: Position) {
    recover(shared, shared.shards.len() - 1, Some(from));
}

#[test]
fn two_publish() {
    let orders = watch(|| {
        let shared = shared(2);
        let from = begun(&shared);
        beside(&shared, vec![pair], two, from);
        check(&shared, 4);
    });
    assert!(orders > 40, "{orders}");
}

#[test]
fn one_publishes_while_another_recovers() {
    let orders = watch(|| {
        let shared = shared(2);
        let from = begun(&shared);
        beside(&shared, vec![two], back, from);
        check(&shared, 2);
    });
    assert!(orders > 40, "{orders}");
}

#[test]
fn two_publish_while_another_recovers() {
    let orders = watch(|| {
        let shared = shared(1);
        let from = begun(&shared);
        beside(&shared, vec![one, pair], back, from);
        check(&shared, 3);
    });
    assert!(orders > 40, "{orders}");
}

#[test]
fn one_publishes_while_two_recover() {
    let orders = watch(|| {
        let shared = shared(2);
        let from = begun(&shared);
        beside(&shared, vec![one, |shared, from| recover(shared, 0, Some(from))], back, from);
        check(&shared, 1);
    });
    assert!(orders > 40, "{orders}");
}
