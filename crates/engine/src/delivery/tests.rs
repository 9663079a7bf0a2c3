//! What one distribution counts towards the next flush.

use std::sync::Arc;

use wse_protocol::frame::{Opcode, push_frame};

use super::{Delivery, Floor};
use crate::config::Config;
use crate::config::tests::config;
use crate::conn::Context;
use crate::conn::tests::open;
use crate::frames::Run;
use crate::id::ConnId;
use crate::shared::Shared;
use crate::slab::Slab;
use crate::topics::{Subscribers, Target};

/// Publishes one frame to so many subscribers whose sockets are blocked, and so many whose are not; returns the deliveries
/// counted.
fn operations(blocked: usize, free: usize) -> usize {
    let shared = Arc::new(Shared::new(Config { max_outbound_bytes: 1 << 20, max_connections: 1000, ..config() }));
    let (mut delivery, mut connections) = (Delivery::default(), Slab::default());
    let mut topics = Subscribers::new(0);
    let mut context = Context::new(Arc::clone(&shared), 0);
    let stream = context.join_stream();
    let entry = shared.topics.add("t", 0).unwrap();
    for number in 0..blocked + free {
        let slot = open(&mut connections, &context, stream);
        delivery.staging.block(slot, number < blocked);
        topics.subscribe(&entry, slot);
    }
    let mut arena = Vec::new();
    push_frame(&mut arena, Opcode::Text, b"{}");
    let run = Run::new(0, arena.len(), 1);
    delivery.begin(arena);
    let mut floor = Floor { connections: &mut connections, topics: &mut topics, context: &mut context };
    delivery.publish(&mut floor, &Target::Named(entry), run, ConnId::NOBODY);
    assert_eq!(delivery.unflushed.connections, blocked + free);
    delivery.unflushed.operations
}

#[test]
fn each_recipient_is_counted_once_however_many_are_blocked() {
    for (blocked, free) in [(0, 10), (64, 10), (65, 10), (200, 0)] {
        assert_eq!(operations(blocked, free), blocked + free, "{blocked} blocked, {free} not");
    }
}
