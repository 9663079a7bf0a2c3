//! The upgrade through a real socket: what is answered with which status, and what unauthenticated peers can hold.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use wse_engine::ConnId;
use wse_engine::config::Endpoint;
use wse_protocol::frame::{Opcode, push_masked_frame};
use wse_testkit::{Certificate, DEADLINE, Event, Peer, PeerError, Request, Response, Server, config, wait_until};

fn answer(server: &Server, request: &[u8]) -> Response {
    let mut peer = Peer::open(server.address);
    peer.send_raw(request);
    peer.end_sending();
    peer.response()
}

#[test]
fn refusals_have_their_status() {
    let server = Server::start(wse_engine::config::Config {
        endpoints: vec![Endpoint { path: Some("/wse".into()), ..Endpoint::default() }],
        allowed_origins: Some(vec!["https://app.example.com".into()]),
        ..config()
    });
    let good = Request::new("/wse");
    let cases: Vec<(&str, Request, u16)> = vec![
        ("plain HTTP", Request::new("/wse").without("Upgrade").without("Connection"), 426),
        ("old version", good.clone().without("Sec-WebSocket-Version").field("Sec-WebSocket-Version", "8"), 426),
        ("no version", good.clone().without("Sec-WebSocket-Version"), 400),
        ("no key", good.clone().without("Sec-WebSocket-Key"), 400),
        ("two keys", good.clone().field("Sec-WebSocket-Key", Request::KEY), 400),
        ("key of the wrong length", good.clone().without("Sec-WebSocket-Key").field("Sec-WebSocket-Key", "YQ=="), 400),
        ("POST", good.clone().line("POST /wse HTTP/1.1"), 400),
        ("HTTP/1.0", good.clone().line("GET /wse HTTP/1.0"), 400),
        ("other path", Request::new("/other"), 404),
        ("other origin", good.clone().field("Origin", "https://evil.example.com"), 403),
        ("origin null", good.clone().field("Origin", "null"), 403),
        ("origin as a prefix", good.clone().field("Origin", "https://app.example.com.evil.org"), 403),
        ("65 fields", (0..60).fold(good.clone(), |request, n| request.field(&format!("X-{n}"), "1")), 431),
        ("16 KiB", good.clone().field("X", &"x".repeat(16 * 1024)), 431),
    ];
    for (name, request, status) in cases {
        let response = answer(&server, &request.bytes());
        assert_eq!(response.status, status, "{name}");
        assert!(!response.body.is_empty() && response.field("Connection") == Some("close"), "{name}");
        if status == 426 {
            assert_eq!(response.field("Sec-WebSocket-Version"), Some("13"), "{name}");
        }
    }
    assert_eq!(server.engine.connection_count(), 0);
    wait_until("each is counted", || server.metric("wse_connections_rejected_total") == 14.0);
    drop(Peer::connect_with(server.address, &good.clone().field("Origin", "https://APP.example.com")));
    drop(Peer::connect_with(server.address, &Request::new("/wse?a=b")));
}

#[test]
fn a_server_on_loopback_is_asked_for_by_its_names() {
    let named = |host: &str| Request::default().without("Host").field("Host", host);
    let server = Server::plain();
    for host in ["localhost", "LOCALHOST:8080", "app.localhost", "127.0.0.1:1", "127.9.9.9", "[::1]:80"] {
        drop(Peer::connect_with(server.address, &named(host)));
    }
    // A proxy on the same machine, and a page on another port of it.
    let page = named("127.0.0.1").field("Origin", "https://app.example.com");
    drop(Peer::connect_with(server.address, &page));
    for host in ["evil.example", "localhost.evil.example:80", "192.168.1.5", ""] {
        // What a rebound page sends: its own name in both.
        let response = answer(&server, &named(host).field("Origin", &format!("http://{host}")).bytes());
        assert_eq!(response.status, 403, "{host:?}");
        assert!(response.body.contains("allowedOrigins"), "the way out: {}", response.body);
    }
    let absolute = Request::default().line("GET http://evil.example/ HTTP/1.1");
    assert_eq!(answer(&server, &absolute.bytes()).status, 403, "an absolute target counts more than Host");
    let origins = Some(vec!["https://app.example.com".into()]);
    let server = Server::start(wse_engine::config::Config { allowed_origins: origins, ..config() });
    drop(Peer::connect_with(server.address, &named("app.example.com").field("Origin", "https://app.example.com")));
    let server = Server::start(wse_engine::config::Config { host: "0.0.0.0".into(), ..config() });
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    drop(Peer::connect_with(address, &named("app.example.com")));
}

#[test]
fn hostile_heads_never_hurt() {
    let mut server = Server::plain();
    let heads: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nSec-WebSocket-Protocol: \xff\xfe, ,,  ;;\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
    ];
    for head in heads {
        let status = answer(&server, head).status;
        assert!(status == 400 || status == 426, "{status} for {:?}", String::from_utf8_lossy(head));
    }
    let spaces = Request::default().field("Sec-WebSocket-Protocol", &" ,".repeat(7000));
    let extension = Request::default()
        .field("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=99, x; y=\"\\\\")
        .field("Sec-WebSocket-Protocol", "\u{fffd}\u{7f}é");
    // Who leaves is an event between the others'.
    let mut served = Vec::new();
    for request in [spaces, extension] {
        let mut peer = Peer::open(server.address);
        peer.send_raw(&request.bytes());
        let response = peer.response();
        // What is offered is neither taken up nor echoed.
        assert!(response.status == 400 || response.field("Sec-WebSocket-Extensions").is_none());
        assert!(response.status == 400 || response.field("Sec-WebSocket-Protocol").is_none());
        if response.status == 101 {
            server.events.connected();
        }
        served.push(peer);
    }
    // A head of 20 MB (CVE-2023-43669) is refused after 16 KiB, without quadratic work.
    let began = Instant::now();
    let mut peer = Peer::open(server.address);
    peer.send_raw(b"GET / HTTP/1.1\r\nX: ");
    for _ in 0..20 {
        if peer.try_send_raw(&[b'x'; 1 << 20]).is_err() {
            break;
        }
    }
    assert!(peer.try_response().is_ok_and(|response| response.status == 431) || began.elapsed().as_secs() < 10);
    assert!(began.elapsed() < Duration::from_secs(10));
    let (_peer, id) = server.connect();
    assert!(server.engine.connection_uuid(id).is_some(), "it still serves");
}

#[test]
fn a_full_server_answers_503_and_takes_the_next_when_one_leaves() {
    let mut server = Server::start(wse_engine::config::Config { max_connections: 2, ..config() });
    let (first, id) = server.connect();
    let (_second, _) = server.connect();
    for _ in 0..3 {
        let response = answer(&server, &Request::default().bytes());
        assert_eq!((response.status, response.field("Retry-After").is_some()), (503, true));
    }
    drop(first);
    assert_eq!(server.events.event(), Event::Disconnect(id));
    server.connect();
}

#[test]
fn any_path_and_a_split_request_upgrade() {
    let mut server = Server::plain();
    let _peer = server.connect_with(&Request::new("/any/path?client_version=2.0.7&topics=a%2Cb"));
    let mut peer = Peer::open(server.address);
    for byte in Request::default().bytes() {
        peer.send_raw(&[byte]);
    }
    assert_eq!(peer.response().status, 101);
    server.events.connected();
}

#[test]
fn cookies_reach_the_host() {
    let server = &mut Server::plain();
    let _peer =
        Peer::connect_with(server.address, &Request::default().field("Cookie", "a=1; b=\"x\"").field("Cookie", "c=3"));
    assert!(matches!(server.events.event(), Event::Connect(_, cookies) if cookies == "a=1; b=\"x\"; c=3"));
}

#[test]
fn the_answer_and_the_greeting_are_one_write() {
    let server = Server::start(wse_engine::config::Config { server_ready: true, ..config() });
    for _ in 0..200 {
        let mut socket = TcpStream::connect(server.address).expect("a TCP connection");
        socket.set_read_timeout(Some(DEADLINE)).expect("a TCP socket");
        socket.write_all(&Request::default().bytes()).expect("a request");
        // One read takes what was written at once, and hardly ever more.
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).expect("an answer");
        let answer = String::from_utf8_lossy(&buffer[..count]);
        let (head, frame) = answer.split_once("\r\n\r\n").expect("a whole head");
        assert!(head.starts_with("HTTP/1.1 101 ") && frame.contains("server_ready"), "{answer}");
    }
}

#[test]
fn early_bytes_are_the_first_messages() {
    let mut server = Server::plain();
    let mut early = Request::default().bytes();
    for text in ["{\"t\":\"one\"}", "{\"t\":\"ping\",\"p\":{\"timestamp\":7}}"] {
        push_masked_frame(&mut early, true, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
    }
    let mut peer = Peer::open(server.address);
    peer.send_raw(&early);
    assert_eq!(peer.response().status, 101);
    let id = server.events.connected();
    assert_eq!(server.events.event(), Event::Message(id, "{\"t\":\"one\"}".into()));
    assert_eq!(peer.json()["p"]["client_timestamp"], 7);
    // Half a frame behind the head, the other half later.
    let mut frame = Vec::new();
    push_masked_frame(&mut frame, true, Opcode::Text, b"later", [1, 2, 3, 4]);
    let (front, back) = frame.split_at(5);
    let mut peer = Peer::open(server.address);
    peer.send_raw(&[&Request::default().bytes(), front].concat());
    assert_eq!(peer.response().status, 101);
    let id = server.events.connected();
    peer.send_raw(back);
    assert_eq!(server.events.event(), Event::Raw(id, "later".into()));
    // A violation behind the head.
    let mut peer = Peer::open(server.address);
    peer.send_raw(&[&Request::default().bytes()[..], &[0x81, 0x01, b'x']].concat());
    assert_eq!(peer.response().status, 101);
    peer.expect_close(1002);
}

#[test]
fn a_slow_head_is_cut_off() {
    let time = Duration::from_millis(300);
    let server = Server::start(wse_engine::config::Config { handshake_timeout: time, ..config() });
    let began = Instant::now();
    let mut silent = Peer::open(server.address);
    let mut dripping = Peer::open(server.address);
    let request = Request::default().field("X", &"x".repeat(4000)).bytes();
    let mut sent = 0;
    wait_until("a dripping peer is cut off", || {
        sent += 1;
        dripping.try_send_raw(&request[sent - 1..sent]).is_err() || sent + 1 == request.len()
    });
    assert!(sent + 1 < request.len() && began.elapsed() >= time);
    assert!(matches!(silent.try_response(), Err(PeerError::End | PeerError::Broken)));
    wait_until("nothing is pending", || server.health("pending_handshakes") == 0);
    assert!(server.metric("wse_connections_rejected_total") >= 2.0);
}

#[test]
fn pending_handshakes_are_bounded_per_address() {
    let limits = wse_engine::config::Config { max_pending: 100, max_pending_per_address: 3, ..config() };
    let mut server = Server::start(limits);
    let mut waiting: Vec<Peer> = (0..3).map(|_| Peer::open(server.address)).collect();
    wait_until("three are pending", || server.health("pending_handshakes") == 3);
    let mut refused = Peer::open(server.address);
    match refused.try_response() {
        Ok(response) => assert_eq!(response.status, 503),
        Err(error) => assert!(matches!(error, PeerError::End | PeerError::Broken)),
    }
    assert_eq!(server.health("pending_handshakes"), 3);
    waiting.pop();
    wait_until("a place is free", || server.health("pending_handshakes") == 2);
    let _next = server.connect();
    // One that waited is served as well.
    let _served = waiting.pop().expect("a peer").upgraded(&Request::default());
    let id: ConnId = server.events.connected();
    assert!(server.engine.connections().contains(&id.as_u64()));
}

#[test]
fn half_open_handshakes_give_way_to_newer_ones() {
    let limits = wse_engine::config::Config { max_pending: 3, max_pending_per_address: 100, ..config() };
    let mut server = Server::start(limits);
    let certificate = Certificate::new();
    let mut secure =
        Server::start(wse_engine::config::Config { max_pending: 3, tls: Some(certificate.server()), ..config() });
    let mut silent: Vec<Peer> = (0..3).map(|_| Peer::open(server.address)).collect();
    wait_until("all places are taken", || server.health("pending_handshakes") == 3);
    let (_first, _) = server.connect();
    silent.remove(0).expect_end();
    // A refused peer that stays holds a place too, and loses it like the others.
    let mut refused = Peer::open(server.address);
    refused.send_raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(refused.response().status, 426);
    let late: Vec<Peer> = (0..3).map(|_| Peer::open(server.address)).collect();
    wait_until("the refused one has given way", || {
        server.metric("wse_connections_rejected_total") >= 4.0 && server.health("pending_handshakes") == 3
    });
    let (_second, _) = server.connect();
    for mut peer in silent {
        peer.expect_end();
    }
    drop(late);
    let mut trickling: Vec<Peer> = (0..50).map(|_| Peer::open(secure.address)).collect();
    for peer in &mut trickling {
        peer.send_raw(b"\x16\x03\x01");
    }
    drop(Peer::open_tls(secure.address, &certificate).expect("TLS").upgraded(&Request::default()));
    secure.events.connected();
    wait_until("no more than the limit is pending", || secure.health("pending_handshakes") <= 3);
}

#[test]
fn a_reset_in_the_middle_of_the_head_is_nothing() {
    let mut server = Server::plain();
    for length in [0, 1, 20, 100] {
        let mut peer = Peer::open(server.address);
        peer.send_raw(&Request::default().bytes()[..length]);
    }
    wait_until("nothing is pending", || server.health("pending_handshakes") == 0);
    server.connect();
    assert_eq!(server.metric("wse_panics_total"), 0.0);
}
