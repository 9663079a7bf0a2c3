//! Random interleavings of subscribe, unsubscribe, publish and send by one thread against a model: every connection gets
//! exactly what the model says, once, in order. A failing seed is printed by proptest and kept in a regressions file.

use std::collections::BTreeSet;

use proptest::prelude::*;
use wse_engine::config::Config;
use wse_protocol::topic::Pattern;
use wse_testkit::{Event, Peer, Server, config, wait_until};

const PEERS: usize = 4;
const TOPICS: [&str; 5] = ["a", "ab", "abc", "b", "b:c"];
const SUBSCRIPTIONS: [&str; 9] = ["a", "ab", "abc", "b", "b:c", "*", "a*", "?b*", "b:?"];

#[derive(Debug, Clone)]
enum Step {
    Subscribe(usize, Vec<usize>),
    Unsubscribe(usize, Option<Vec<usize>>),
    /// A topic, and bytes beside the number.
    Publish(usize, usize),
    Send(usize, usize),
    SendAll,
    /// The peer leaves, another comes in its place.
    Replace(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let names = || proptest::collection::vec(0..SUBSCRIPTIONS.len(), 1..4);
    prop_oneof![
        3 => (0..PEERS, names()).prop_map(|(peer, names)| Step::Subscribe(peer, names)),
        2 => (0..PEERS, proptest::option::weighted(0.8, names())).prop_map(|(peer, names)| Step::Unsubscribe(peer, names)),
        8 => (0..TOPICS.len(), padding()).prop_map(|(topic, padding)| Step::Publish(topic, padding)),
        2 => (0..PEERS, padding()).prop_map(|(peer, padding)| Step::Send(peer, padding)),
        1 => Just(Step::SendAll),
        1 => (0..PEERS).prop_map(Step::Replace),
    ]
}

/// Small messages are staged for each subscriber, large ones shared: both, in any order.
fn padding() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(0usize), 1 => 0..1500usize, 1 => 1500..40_000usize]
}

fn padded(n: usize, padding: usize) -> String {
    format!("{n}{}", " ".repeat(padding))
}

fn named(indices: &[usize]) -> Vec<String> {
    indices.iter().map(|index| SUBSCRIPTIONS[*index].to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn deliveries_are_those_of_the_model(steps in proptest::collection::vec(step(), 1..150), shards in 1usize..4) {
        let mut server = Server::start(Config { shards, ..config() });
        let mut peers: Vec<_> = (0..PEERS).map(|_| server.connect()).collect();
        let mut held = vec![BTreeSet::<usize>::new(); PEERS];
        let mut expected = vec![Vec::<String>::new(); PEERS];
        for (n, step) in steps.iter().enumerate() {
            let text = n.to_string();
            match step {
                Step::Subscribe(peer, names) => {
                    held[*peer].extend(names);
                    server.engine.subscribe(peers[*peer].1, &named(names), None);
                }
                Step::Unsubscribe(peer, names) => {
                    match names {
                        Some(names) => held[*peer].retain(|name| !names.contains(name)),
                        None => held[*peer].clear(),
                    }
                    server.engine.unsubscribe(peers[*peer].1, names.as_deref().map(named).as_deref());
                }
                Step::Publish(topic, padding) => {
                    let (topic, text) = (TOPICS[*topic], padded(n, *padding));
                    for (held, expected) in held.iter().zip(&mut expected) {
                        if held.iter().any(|name| Pattern::new(SUBSCRIPTIONS[*name]).unwrap().matches(topic)) {
                            expected.push(text.clone());
                        }
                    }
                    server.engine.broadcast(topic, &text);
                }
                Step::Send(peer, padding) => {
                    let text = padded(n, *padding);
                    expected[*peer].push(text.clone());
                    server.engine.send(peers[*peer].1, &text);
                }
                Step::Replace(peer) => {
                    // Still being sent to when it goes: nothing of it may reach who comes after.
                    held[*peer].clear();
                    expected[*peer].clear();
                    drop(peers.remove(*peer));
                    let newcomer = Peer::connect(server.address);
                    let id = loop {
                        match server.events.event() {
                            Event::Connect(id, _) => break id,
                            Event::Disconnect(_) => {}
                            other => panic!("{other:?}"),
                        }
                    };
                    peers.insert(*peer, (newcomer, id));
                }
                Step::SendAll => {
                    expected.iter_mut().for_each(|expected| expected.push(text.clone()));
                    server.engine.broadcast_all(&text);
                }
            }
        }
        server.engine.broadcast_all("end");
        for ((peer, _), expected) in peers.iter_mut().zip(&expected) {
            let mut got = Vec::new();
            loop {
                match peer.text() {
                    end if end == "end" => break,
                    text => got.push(text),
                }
            }
            prop_assert_eq!(&got, expected);
        }
        let distinct: BTreeSet<usize> = held.iter().flatten().copied().collect();
        // Who was replaced may still be leaving.
        wait_until("as many topics as the model has", || server.health("topics") == distinct.len() as u64);
    }
}
