//! Random lives of clients that recover, against a shadow model of what is promised: whatever a client missed after it subscribed
//! comes once and in order, or the client is told that it is incomplete before anything later comes; what its ACL denies does not
//! come at all. Two threads publish; connections are cut, rings age and are evicted, readers are slow, ACLs and tokens change, the engine stops.
//!
//! `WSE_MODEL_CASES` says how many lives, else as many as suit every run. A failing one is printed by proptest and kept in a
//! regressions file, which replays it.

mod recovering;

use proptest::prelude::*;
use recovering::world::{Life, ROOMY, World};
use recovering::{PEERS, Step, TOPICS};

/// Lives of every ordinary run.
const CASES: u32 = 64;

fn cases() -> u32 {
    std::env::var("WSE_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

fn peers() -> impl Strategy<Value = Vec<usize>> {
    proptest::sample::subsequence((0..PEERS).collect::<Vec<_>>(), 1..=PEERS)
}

fn topics() -> impl Strategy<Value = Vec<usize>> {
    proptest::sample::subsequence((0..TOPICS.len()).collect::<Vec<_>>(), 1..=TOPICS.len())
}

/// Small frames are staged and copied, large ones shared; a few together are a run.
fn padding() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0_usize), 2 => 100..1500_usize, 2 => 1500..12_000_usize]
}

fn step() -> impl Strategy<Value = Step> {
    let one = || (0..PEERS, 0..TOPICS.len());
    prop_oneof![
        10 => (0..TOPICS.len(), 1..24_usize, padding(), proptest::option::weighted(0.1, 0..PEERS))
            .prop_map(|(topic, count, padding, except)| Step::Publish { topic, count, padding, except }),
        2 => (0..TOPICS.len(), 100..400_usize)
            .prop_map(|(topic, count)| Step::Publish { topic, count, padding: 0, except: None }),
        4 => (0..PEERS, topics(), proptest::bool::weighted(0.8))
            .prop_map(|(peer, topics, recover)| Step::Subscribe { peer, topics, recover }),
        1 => (0..PEERS, topics()).prop_map(|(peer, topics)| Step::Unsubscribe { peer, topics }),
        1 => (0..PEERS).prop_map(Step::HoldPattern),
        3 => (0..PEERS, any::<bool>()).prop_map(|(peer, asks)| Step::Cut { peer, asks }),
        3 => peers().prop_map(Step::Return),
        4 => (0..PEERS, 1..200_usize).prop_map(|(peer, frames)| Step::Read { peer, frames }),
        2 => (one(), any::<bool>()).prop_map(|((peer, topic), asks)| Step::Deny { peer, topic, asks }),
        1 => (0..PEERS).prop_map(Step::Allow),
        1 => (1..40_u64).prop_map(Step::Rest),
        1 => (1..30_usize).prop_map(Step::Crowd),
    ]
}

fn life() -> impl Strategy<Value = Life> {
    let rate = prop_oneof![12 => Just(1_u64 << 30), 1 => 200_000..400_000_u64];
    let ttl = prop_oneof![2 => Just(None), 1 => (10..80_u64).prop_map(Some)];
    let budget = prop_oneof![2 => Just(64_usize << 20), 1 => 2_000..200_000_usize];
    let outbound = prop_oneof![1 => Just(ROOMY), 1 => 8_000..120_000_usize];
    let rest = (prop_oneof![Just(8_u32), 1..200_u32], prop_oneof![3 => Just(500_u32), 1 => 5..50_u32], 1..4_usize);
    (rate, ttl, budget, outbound, rest, any::<[bool; 2]>(), any::<[bool; PEERS]>(), proptest::bool::weighted(0.15))
        .prop_map(
            |(rate, ttl, memory_budget, outbound, (ring, max_messages, shards), [held, tokens], narrow, stops)| Life {
                rate,
                ttl,
                memory_budget,
                outbound,
                ring,
                max_messages,
                shards,
                held,
                narrow,
                tokens,
                stops,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_missed_or_it_is_declared(life in life(), steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::begin(&life);
        for step in &steps {
            world.take(step);
        }
        world.end();
    }
}
