//! A shard that meets panics where nothing closer by catches them, and what is seen of one from within only.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use wse_protocol::frame::{Opcode, push_masked_frame};

use super::{Admitted, Caller, Driver, Equipment, SharedShard, Step, spawn};
use crate::admission::Place;
use crate::config::tests::config;
use crate::config::{Config, Outbox, Presence};
use crate::id::ConnId;
use crate::inbound::{Consumer, Kind, Taken};
use crate::mailbox::{Command, Incoming};
use crate::registry::{Origin, Speech};
use crate::shared::Shared;

const PEERS: usize = 5;
/// Events at which an open batch is delivered, whatever becomes of it.
const BATCH_EVENTS: usize = 4096;

/// Makes a socket a connection of `user`.
fn enroll(shared: &Shared, shard: &SharedShard, incoming: Incoming, user: Option<String>) -> ConnId {
    incoming.stream.set_nonblocking(true).unwrap();
    let transport = shard.borrow().reactor().adopt(incoming.stream).unwrap().into();
    let id = shard.borrow_mut().adopt(Admitted {
        transport,
        early: Vec::new(),
        response: b"HTTP/1.1 101\r\n\r\n".to_vec(),
        cookies: Vec::new(),
        acl: None,
        topics: Vec::new(),
        expires: 0,
        speech: Speech::Json,
        origin: Origin {
            path: "/".to_owned(),
            address: incoming.address,
            secure: false,
            user,
            subprotocol: None,
            data: None,
            credential: None,
        },
        accepted: incoming.accepted,
        places: [shared.enter().unwrap(), incoming.load],
    });
    let Ok(id) = id else { panic!("it is not adopted") };
    id
}

/// Makes sockets connections; with the last of them the loop panics, one event short of a delivery.
fn enrolling(shared: Arc<Shared>, shard: SharedShard, incoming: Incoming, _: bool) {
    let id = enroll(&shared, &shard, incoming, None);
    if shared.registry.len() < PEERS {
        return;
    }
    let mut shard = shard.borrow_mut();
    for _ in shard.context.open_events()..BATCH_EVENTS - 1 {
        shard.context.event(0, Kind::Raw, id, b"");
    }
    panic!("nobody catches this");
}

/// Makes sockets connections of users who are present; with the last of them the loop panics.
fn presenting(shared: Arc<Shared>, shard: SharedShard, incoming: Incoming, _: bool) {
    let user = format!("user {}", shared.registry.len());
    let id = enroll(&shared, &shard, incoming, Some(user));
    let peer = shared.registry.get(id).unwrap();
    let topics = shared.admit_all(&peer, ["room"].iter()).unwrap();
    shard.borrow_mut().subscribe(id, topics.clone());
    assert_eq!(shared.appear(&peer, &topics, Some("{}"), || {}).topics, 1);
    assert!(shared.registry.len() < PEERS, "nobody catches this");
}

/// Takes everything that waits; returns how many events it was.
fn take(consumer: &Consumer) -> usize {
    let (mut buffer, mut events) = (vec![0; 1 << 20], 0);
    while let Taken::Bytes(_) = consumer.take(usize::MAX, false, &mut buffer) {
        events += u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
    }
    events
}

/// A socket connects and is handed to the first shard, as a listener would.
pub(super) fn arrive(shared: &Shared, listener: &TcpListener) {
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = stream.local_addr().unwrap().ip();
    let permit = shared.admission.enter(address).unwrap();
    let load = Place::take(&shared.shards[0].load);
    let (accepted, early, handed) = (Instant::now(), Vec::new(), None);
    let incoming = Incoming { stream, accepted, address, loopback: true, early, handed, permit, load };
    shared.shards[0].mailbox.command(Command::Accept(Box::new(incoming)));
}

#[track_caller]
pub(super) fn wait_until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_panic_while_a_shard_begins_again_costs_no_place_and_no_event() {
    let shared = Arc::new(Shared::new(Config { max_inbound_events: 1 << 20, ..config() }));
    let (consumer, _) = shared.inbound.join(0, None, &|_| None);
    let thread = spawn(Arc::clone(&shared), 0, enrolling).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let handle = &shared.shards[0];
    let mut streams = Vec::new();
    for number in 1..=PEERS {
        if number == PEERS {
            wait_until(|| shared.inbound.depth() == PEERS - 1);
            take(&consumer);
            // From here on whoever wakes the reader panics, once.
            consumer.on_batch(Some(Arc::new(|| panic!("the host panics"))));
        }
        arrive(&shared, &listener);
        streams.push(listener.accept().unwrap());
        wait_until(|| shared.registry.len() == number % PEERS && handle.mailbox.weight() == 0);
    }
    // One disconnect filled the batch, the others came behind it.
    wait_until(|| shared.inbound.depth() == BATCH_EVENTS + PEERS - 1);
    assert!(shared.is_empty(), "no connection keeps its place");
    assert_eq!(handle.load.load(SeqCst), 0);
    assert_eq!(handle.counters.restarts.get(), 1);
    assert_eq!(take(&consumer), BATCH_EVENTS + PEERS - 1);
    handle.mailbox.command(Command::Stop);
    thread.join().unwrap();
}

#[test]
fn a_panic_that_costs_a_shard_its_connections_leaves_nobody_present() {
    for grace in [Duration::ZERO, Duration::from_secs(60)] {
        let presence = Some(Presence { max_data: 100, max_members: 0, grace });
        let shared = Arc::new(Shared::new(Config { presence, ..config() }));
        let thread = spawn(Arc::clone(&shared), 0, presenting).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gauges = &shared.presence.gauges;
        let mut streams = Vec::new();
        for number in 1..=PEERS {
            arrive(&shared, &listener);
            streams.push(listener.accept().unwrap());
            wait_until(|| gauges.members.load(SeqCst) == number % PEERS && shared.registry.len() == number % PEERS);
        }
        wait_until(|| shared.topics.len() == 0);
        assert_eq!(gauges.joins.load(SeqCst), gauges.leaves.load(SeqCst));
        assert_eq!((gauges.bytes.load(SeqCst), gauges.departing.load(SeqCst)), (0, 0));
        shared.shards[0].mailbox.command(Command::Stop);
        thread.join().unwrap();
    }
}

/// Nobody is woken for each of them.
#[test]
fn what_several_connections_send_out_of_their_outboxes_at_once_is_delivered_together() {
    const ROUNDS: usize = 20;
    fn enrolled(shared: Arc<Shared>, shard: SharedShard, incoming: Incoming, _: bool) {
        enroll(&shared, &shard, incoming, None);
    }
    fn send(mut stream: &TcpStream, text: &str) {
        let mut frame = Vec::new();
        push_masked_frame(&mut frame, true, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
        stream.write_all(&frame).unwrap();
    }
    let outbox = Some(Outbox { max_streams: 100, ttl: Duration::from_secs(600) });
    let shared = Arc::new(Shared::new(Config { outbox, ..config() }));
    let (consumer, _) = shared.inbound.join(0, None, &|_| None);
    let equipment = Equipment::new().unwrap();
    let mut driver = Driver::new(Arc::clone(&shared), 0, Caller::Host, enrolled, equipment).unwrap();
    let mut turn = |until: &dyn Fn() -> bool| {
        let began = Instant::now();
        loop {
            driver.reactor().look(Some(Duration::ZERO), |_| {}).unwrap();
            while driver.step(std::time::Instant::now()) == Step::More {}
            if until() {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10));
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let streams: Vec<TcpStream> = (0..PEERS)
        .map(|_| {
            arrive(&shared, &listener);
            listener.accept().unwrap().0
        })
        .collect();
    turn(&|| shared.inbound.depth() == PEERS);
    for stream in &streams {
        send(stream, r#"{"t":"client_hello","p":{"features":{"outbox":true}}}"#);
    }
    let counters = &shared.shards[0].counters;
    turn(&|| counters.messages_received.get() == PEERS as u64);
    take(&consumer);
    let deliveries = Arc::new(AtomicUsize::new(0));
    let (count, taker) = (Arc::clone(&deliveries), Arc::clone(&consumer));
    consumer.on_batch(Some(Arc::new(move || {
        count.fetch_add(1, SeqCst);
        take(&taker);
    })));
    for round in 1..=ROUNDS {
        for (place, stream) in streams.iter().enumerate() {
            send(stream, &format!(r#"{{"ob":["stream-{place}",{round}],"t":"x"}}"#));
        }
        turn(&|| counters.outbox_messages.get() == (PEERS * round) as u64);
    }
    assert_eq!(shared.inbound.depth(), 0);
    // A busy machine may split some of them.
    let deliveries = deliveries.load(SeqCst);
    assert!((ROUNDS..3 * ROUNDS).contains(&deliveries), "{deliveries} deliveries for {ROUNDS} times {PEERS} at once");
}
