//! Sockets that come from an HTTP server of the host, which has read an upgrade request from them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use wse_engine::config::{Config, Endpoint};
use wse_engine::{PumpedPeer, Source};
use wse_protocol::close_code::CloseCode;
use wse_testkit::{DEADLINE, Event, Request, Server, config};

fn portless() -> Config {
    Config { port: None, ..config() }
}

/// Both ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(DEADLINE)).unwrap();
    (listener.accept().unwrap().0, peer)
}

/// The first line that is heard.
fn status(mut peer: &TcpStream) -> String {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(b"\r\n") && peer.read(&mut byte).is_ok_and(|count| count == 1) {
        heard.push(byte[0]);
    }
    String::from_utf8(heard).unwrap()
}

/// A text frame of a client, with a key of zeros.
fn text(payload: &str) -> Vec<u8> {
    [&[0x81, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], payload.as_bytes()].concat()
}

#[test]
fn an_engine_without_a_port_serves_what_it_is_handed() {
    let mut server = Server::start(portless());
    assert_eq!(server.address.port(), 0);
    let (own, peer) = pair();
    // What came behind the request is there already.
    let request = [Request::default().bytes(), text(r#"{"t":"early"}"#)].concat();
    assert!(server.engine.take_upgrade(own, request, None));
    assert!(status(&peer).contains(" 101 "));
    let id = server.events.connected();
    assert!(matches!(server.events.event(), Event::Message(from, _) if from == id));
    (&peer).write_all(&text(r#"{"t":"late"}"#)).unwrap();
    assert!(matches!(server.events.event(), Event::Message(from, _) if from == id));
    let info = server.engine.connection_info(id).unwrap();
    assert!(info.address.is_loopback() && !info.secure);
}

#[test]
fn a_head_that_is_not_whole_is_read_on_and_a_wrong_one_refused() {
    let server = Server::start(Config {
        endpoints: vec![Endpoint { path: Some("/ws".into()), ..Endpoint::default() }],
        ..portless()
    });
    let request = Request::new("/ws").bytes();
    let (own, peer) = pair();
    assert!(server.engine.take_upgrade(own, request[..20].to_vec(), None));
    (&peer).write_all(&request[20..]).unwrap();
    assert!(status(&peer).contains(" 101 "));
    for (bytes, expected) in [
        (Request::default().bytes(), " 404 "),
        (b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), " 426 "),
        (b"rubbish\r\n\r\n".to_vec(), " 400 "),
        ([b"GET /ws HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 20_000], b"\r\n\r\n"].concat(), " 431 "),
    ] {
        let (own, peer) = pair();
        assert!(server.engine.take_upgrade(own, bytes, None));
        let status = status(&peer);
        assert!(status.contains(expected), "{status}");
    }
}

#[test]
fn nobody_is_taken_who_has_no_place_or_comes_too_late_and_nothing_is_written() {
    let server = Server::start(Config { max_pending: 1, max_pending_per_address: 1, ..portless() });
    let refused = |server: &Server| {
        let (own, mut peer) = pair();
        let duplicate = own.try_clone().unwrap();
        assert!(!server.engine.take_upgrade(own, Request::default().bytes(), None));
        // What the host holds still can answer, and is the only thing that does.
        (&duplicate).write_all(b"mine").unwrap();
        drop(duplicate);
        let mut heard = String::new();
        peer.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "mine");
    };
    let (own, waiting) = pair();
    assert!(server.engine.take_upgrade(own, b"GET ".to_vec(), None));
    while server.health("pending_handshakes") != 1 {
        std::thread::yield_now();
    }
    refused(&server);
    drop(waiting);
    server.engine.drain(CloseCode::RECONNECT, "", Duration::ZERO).unwrap();
    refused(&server);
    server.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
    refused(&server);
}

#[test]
fn where_it_comes_from_is_what_an_engine_has_judged_before() {
    let mut server = Server::start(Config { max_pending_per_address: 1, ..portless() });
    let foreign = Request::default().without("Host").field("Host", "app.example").bytes();
    let source = |address: &str| Some(Source { address: address.parse().ok(), loopback: false });
    let mut served = Vec::new();
    for (source, address, line) in [
        (None, "", "HTTP/1.1 403 Forbidden\r\n"),
        (source("203.0.113.7"), "203.0.113.7", "HTTP/1.1 101 Switching Protocols\r\n"),
        (source("a file"), "127.0.0.1", "HTTP/1.1 101 Switching Protocols\r\n"),
    ] {
        let (own, peer) = pair();
        assert!(server.engine.take_upgrade(own, foreign.clone(), source));
        assert_eq!(status(&peer), line);
        served.push(peer); // who leaves is an event between the others'
        if !address.is_empty() {
            let id = server.events.connected();
            assert_eq!(server.engine.connection_info(id).unwrap().address.to_string(), address);
        }
    }
    let (mut peers, mut taken) = (Vec::new(), Vec::new());
    for address in ["203.0.113.8", "203.0.113.8", "203.0.113.9", "a file", "a file"] {
        let (own, peer) = pair();
        peers.push(peer);
        taken.push(server.engine.take_upgrade(own, b"GET ".to_vec(), source(address)));
    }
    assert_eq!(taken, [true, false, true, true, true], "one for each address; who has none is not counted");
}

#[test]
fn what_is_no_connected_stream_is_not_taken() {
    let server = Server::start(portless());
    let (own, peer) = pair();
    drop(peer);
    // A peer that is gone may be noticed now or by the handshake; neither harms.
    let _ = server.engine.take_upgrade(own, Request::default().bytes(), None);
    #[cfg(unix)]
    {
        use std::os::fd::OwnedFd;
        use std::os::unix::net::{UnixDatagram, UnixStream};

        let file = std::fs::File::open("/dev/null").unwrap();
        let (datagram, _other) = UnixDatagram::pair().unwrap();
        let lonely = TcpListener::bind("127.0.0.1:0").unwrap();
        for wrong in [OwnedFd::from(file), OwnedFd::from(datagram), OwnedFd::from(lonely)] {
            assert!(!server.engine.take_upgrade(TcpStream::from(wrong), Request::default().bytes(), None));
        }
        // A stream of this machine is as good as any, and no page comes by it.
        let (own, mut peer) = UnixStream::pair().unwrap();
        let request = Request::default().without("Host").field("Host", "app.example").bytes();
        assert!(server.engine.take_upgrade(TcpStream::from(OwnedFd::from(own)), request, None));
        let mut heard = [0; 12];
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"HTTP/1.1 101");
    }
}

#[test]
fn a_pumped_peer_is_known_by_what_the_host_says_and_its_connection_by_the_key() {
    let mut server = Server::start(portless());
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = PumpedPeer { address: Some("2001:db8::7".parse().unwrap()), loopback: false, secure: true };
    let request = Request::default().without("Host").field("Host", "app.example").bytes();
    let port = host.local_addr().unwrap().port();
    assert!(server.engine.pump_upgrade(port, b"the key of this one", request, &peer));
    let (mut pumped, _) = host.accept().unwrap();
    let mut heard = [0; 31];
    pumped.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"the key of this oneHTTP/1.1 101");
    let info = server.engine.connection_info(server.events.connected()).unwrap();
    assert_eq!((info.address, info.secure), (peer.address.unwrap(), true));
    assert_eq!(server.health("pumped_connections"), 1);

    // Nobody listens there any more: a handshake that fails, and gives its place back.
    drop(host);
    let _ = server.engine.pump_upgrade(port, b"key", Request::default().bytes(), &peer);
    while server.health("pending_handshakes") != 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_socket_handed_over_while_the_engine_stops_is_served_closed_or_left() {
    for _ in 0..20 {
        let server = Server::start(portless());
        let (go_on, taken) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (engine, going, count) = (Arc::clone(&server.engine), Arc::clone(&go_on), Arc::clone(&taken));
        let hand = move || {
            let mut peers = Vec::new();
            while going.load(SeqCst) {
                let (own, peer) = pair();
                if engine.take_upgrade(own, Request::default().bytes(), None) {
                    count.fetch_add(1, SeqCst);
                    peers.push(peer);
                }
            }
            peers
        };
        let handing = std::thread::spawn(hand);
        while taken.load(SeqCst) < 10 {
            std::thread::yield_now();
        }
        server.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
        go_on.store(false, SeqCst);
        for mut peer in handing.join().unwrap() {
            // Its end, in order or not: a socket that nobody holds any more would be a timeout.
            let ended = peer.read_to_end(&mut Vec::new());
            let waited = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
            assert!(!ended.as_ref().is_err_and(waited), "{ended:?}");
        }
    }
}
