//! One port for the engine and its host: who gets a first request, what the engine says of itself, and what becomes of sockets
//! nobody takes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use wse_engine::config::{Config, Endpoint, ForwardedField, Http, TrustedProxies};
use wse_engine::{LimitsMet, Relay, Released, Source};
use wse_protocol::close_code::CloseCode;
use wse_testkit::{Certificate, DEADLINE, Peer, Request, Response, Server, config, wait_until};

/// A port that hands over, with upgrades at `/wse` only, and answers questions.
fn shared_port() -> Config {
    Config {
        endpoints: vec![Endpoint { path: Some("/wse".into()), ..Endpoint::default() }],
        http: Some(Http { hands_over: true, max_waiting: 3, ..questions() }),
        ..config()
    }
}

fn questions() -> Http {
    Http {
        health: Some("/healthz".into()),
        ready: Some("/readyz".into()),
        metrics: Some("/metrics".into()),
        ..Http::default()
    }
}

fn get(path: &str) -> Request {
    Request::default().without("Upgrade").without("Connection").line(&format!("GET {path} HTTP/1.1"))
}

/// The response to a request, whose end is that of the stream.
#[track_caller]
fn ask(server: &Server, request: &Request) -> Response {
    let mut peer = Peer::open(server.address);
    peer.send_raw(&request.bytes());
    peer.response()
}

/// The next socket the host is given.
#[track_caller]
fn taken(server: &Server) -> Released {
    let mut found = None;
    wait_until("a socket is handed over", || {
        found = server.engine.take_sockets(1).pop();
        found.is_some()
    });
    found.unwrap()
}

/// What is still in a socket that was handed over.
fn rest(released: &Released, count: usize) -> Vec<u8> {
    released.stream.set_nonblocking(false).unwrap();
    released.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut rest = vec![0; count];
    (&released.stream).read_exact(&mut rest).unwrap();
    rest
}

#[test]
fn upgrades_are_the_engines_and_the_rest_crosses_byte_for_byte() {
    let mut server = Server::start(shared_port());
    let rung = Arc::new(AtomicUsize::new(0));
    let bell = Arc::clone(&rung);
    server.engine.on_sockets(Arc::new(move || {
        bell.fetch_add(1, SeqCst);
    }));
    let (mut peer, id) = server.connect();
    server.engine.send(id, "hello");
    assert_eq!(peer.text(), "hello");
    let request =
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET /b";
    for cut in 1..request.len() {
        let mut socket = TcpStream::connect(server.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.write_all(&request[..cut]).unwrap();
        if cut % 8 == 0 {
            // It may have been handed over with less, or have to wait for more.
            wait_until("its handshake is begun", || {
                server.health("pending_handshakes") > 0 || server.health("http_waiting") > 0
            });
        }
        socket.write_all(&request[cut..]).unwrap();
        let released = taken(&server);
        let mut seen = released.head.clone();
        seen.extend(rest(&released, request.len() - seen.len()));
        assert_eq!(seen, request, "cut at {cut}");
        assert_eq!(released.stream.peer_addr().unwrap(), socket.local_addr().unwrap());
        // It is whose it is now: what is written there arrives.
        (&released.stream).write_all(b"x").unwrap();
        socket.read_exact(&mut [0]).unwrap();
    }
    // Offered first, and then the host is woken and the socket counted.
    wait_until("all are counted", || server.counter("wse_http_handed_total") >= request.len() as u64 - 1);
    assert_eq!(rung.load(SeqCst), request.len() - 1, "one wake for each that came alone");
    assert_eq!(server.counter("wse_http_handed_total"), request.len() as u64 - 1);
    assert_eq!(server.counter("wse_connections_rejected_total"), 0);
}

#[test]
fn where_a_socket_comes_from_is_told_with_it() {
    let proxies = TrustedProxies { networks: vec!["127.0.0.1".parse().unwrap()], field: ForwardedField::ProxyProtocol };
    let server = Server::start(Config { trusted_proxies: Some(proxies), ..shared_port() });
    for (header, address) in [("PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"), ("PROXY UNKNOWN\r\n", "127.0.0.1")]
    {
        let mut peer = Peer::open(server.address);
        peer.send_raw(&[header.as_bytes(), &get("/").bytes()].concat());
        assert_eq!(taken(&server).source, Source { address: address.parse().ok(), loopback: true });
    }
    let all = Server::start(Config { host: "0.0.0.0".into(), ..shared_port() });
    let mut peer = Peer::open((Ipv4Addr::LOCALHOST, all.address.port()).into());
    peer.send_raw(&get("/").bytes());
    assert_eq!(taken(&all).source, Source { address: "127.0.0.1".parse().ok(), loopback: false });
}

#[test]
fn what_nobody_takes_is_bounded_and_closed_at_the_end() {
    let server = Server::start(shared_port());
    let mut waiting: Vec<Peer> = (0..3).map(|_| Peer::open(server.address)).collect();
    for peer in &mut waiting {
        peer.send_raw(&get("/").bytes());
    }
    wait_until("three wait", || server.health("http_waiting") == 3);
    assert_eq!(ask(&server, &get("/")).status, 503);
    assert_eq!(ask(&server, &get("/healthz")).status, 200, "the engine itself is well");
    assert_eq!((server.counter("wse_http_refused_total"), server.counter("wse_http_handed_total")), (1, 3));
    drop(server.engine.take_sockets(1));
    let mut late = Peer::open(server.address);
    late.send_raw(&get("/").bytes());
    wait_until("its place is another one's", || server.health("http_waiting") == 3);
    server.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
    for peer in waiting.iter_mut().chain([&mut late]) {
        peer.expect_end();
    }
}

#[test]
fn a_host_that_is_gone_is_said_to_be_unavailable() {
    let mut server = Server::start(shared_port());
    let mut waiting = Peer::open(server.address);
    waiting.send_raw(&get("/").bytes());
    wait_until("it waits", || server.health("http_waiting") == 1);
    server.engine.refuse_sockets();
    assert_eq!(waiting.response().status, 503);
    assert_eq!(ask(&server, &get("/")).status, 503);
    assert_eq!(server.counter("wse_http_refused_total"), 2);
    server.connect();
}

#[test]
fn half_heads_end_in_time_and_cost_nobody() {
    let time = Duration::from_millis(300);
    let mut server = Server::start(Config { handshake_timeout: time, ..shared_port() });
    let mut trickling = Peer::open(server.address);
    let mut half = Peer::open(server.address);
    half.send_raw(b"GET /wse HTTP/1.1\r\nHost: loc");
    drop(half);
    for byte in b"GET / HTTP/1.1\r\nA: b".iter().cycle().take(50) {
        if trickling.try_send_raw(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(time / 20);
    }
    wait_until("both are gone", || {
        server.counter("wse_connections_rejected_total") == 2 && server.health("pending_handshakes") == 0
    });
    assert_eq!((server.health("pending_handshakes"), server.counter("wse_http_handed_total")), (0, 0));
    server.connect();
}

#[test]
fn questions_are_answered_by_the_engine() {
    let certificate = Certificate::new();
    let both = [None, Some(certificate.server())];
    for tls in both {
        let secure = tls.is_some();
        let server = Server::start(Config { http: Some(questions()), tls, ..config() });
        let ask = |request: &Request| {
            let mut peer =
                if secure { Peer::open_tls(server.address, &certificate).unwrap() } else { Peer::open(server.address) };
            peer.send_raw(&request.bytes());
            peer.response()
        };
        for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
            let response = ask(&get(path));
            assert_eq!((response.status, response.body.as_str()), (200, body), "{path}");
            assert_eq!(response.field("Content-Length"), Some(body.len().to_string().as_str()));
            assert_eq!(response.field("Connection"), Some("close"));
        }
        let metrics = ask(&get("/metrics"));
        assert_eq!(metrics.field("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(metrics.field("Content-Length"), Some(metrics.body.len().to_string().as_str()));
        assert!(metrics.body.contains("\nwse_connections 0\n"));
        let head = ask(&get("/metrics").line("HEAD /metrics HTTP/1.0"));
        assert!(head.status == 200 && head.body.is_empty() && head.field("Content-Length").unwrap().len() > 3);
        let post = ask(&get("/healthz").line("POST /healthz HTTP/1.1"));
        assert_eq!((post.status, post.field("Allow")), (405, Some("GET, HEAD")));
        assert_eq!(ask(&get("/other")).status, 426, "nobody else is there");
        assert_eq!(server.counter("wse_http_answers_total"), 5);
        wait_until("one was refused", || server.counter("wse_connections_rejected_total") == 1);
    }
}

#[test]
fn questions_the_host_has_read_are_answered_alike() {
    let server = Server::start(Config { http: Some(questions()), ..config() });
    let ask = |line, host, address: &str, loopback| {
        let reply = server.engine.probe(line, host, Relay::default(), address.parse().ok(), loopback);
        reply.map(|reply| (reply.status, reply.kind))
    };
    let text = "text/plain; charset=utf-8";
    assert_eq!(ask("GET /healthz?x", Some("a"), "203.0.113.7", false), Some((200, text)));
    assert_eq!(ask("GET /metrics", Some("a"), "203.0.113.7", false), Some((403, text)));
    assert_eq!(ask("POST /readyz", Some("a"), "127.0.0.1", false), Some((405, text)));
    assert_eq!(ask("GET /metrics", Some("a"), "127.0.0.1", true), Some((403, text)), "another name of this machine");
    assert_eq!(ask("GET /metrics", Some("a"), "127.0.0.1", false), Some((403, text)), "the same where pages may come");
    assert_eq!(ask("GET /metrics", Some("localhost:9"), "127.0.0.1", false).unwrap().0, 200);
    assert_eq!(ask("GET /healthz", None, "nobody knows", false), Some((403, text)));
    assert_eq!(ask("GET /", Some("a"), "127.0.0.1", false), None);
}

#[test]
fn metrics_are_written_once_a_second_at_most() {
    let server = Server::start(Config { http: Some(questions()), ..config() });
    let began = Instant::now();
    let text = ask(&server, &get("/metrics")).body;
    // What it says changes with each connect.
    let _peer = Peer::connect(server.address);
    let again = ask(&server, &get("/metrics")).body;
    assert!(again == text || began.elapsed() >= Duration::from_secs(1));
    wait_until("it is written anew", || ask(&server, &get("/metrics")).body.contains("\nwse_connections 1\n"));
}

#[test]
fn ready_fails_before_anybody_has_to_leave_and_health_does_not() {
    let mut server = Server::start(Config { max_connections: 1, ..shared_port() });
    assert_eq!(ask(&server, &get("/readyz")).status, 200);
    let (mut peer, _) = server.connect();
    let full = ask(&server, &get("/readyz"));
    assert_eq!((full.status, full.body.as_str()), (503, "full: maxConnections\n"));
    assert_eq!(server.engine.limits_met(), LimitsMet::default());
    assert_eq!(ask(&server, &Request::default()).status, 503);
    assert_eq!(server.engine.limits_met(), LimitsMet { connections: true, ..LimitsMet::default() });
    let engine = Arc::clone(&server.engine);
    let draining = std::thread::spawn(move || engine.drain(CloseCode(4300), "", DEADLINE).unwrap());
    peer.expect_close(4300);
    let leaving = ask(&server, &get("/readyz"));
    assert_eq!((leaving.status, leaving.body.as_str()), (503, "draining\n"));
    assert_eq!(ask(&server, &get("/healthz")).status, 200);
    assert_eq!(ask(&server, &Request::default()).status, 503);
    // The application is still served: a load balancer takes a while to see that it is to ask elsewhere.
    let mut other = Peer::open(server.address);
    other.send_raw(&get("/").bytes());
    drop(taken(&server));
    peer.send_close(4300);
    assert!(draining.join().unwrap());
}

#[test]
fn who_may_ask_is_listed() {
    let allow = |list: &[&str]| Some(list.iter().map(|network| network.parse().unwrap()).collect());
    let proxies = TrustedProxies { networks: allow(&["127.0.0.1"]).unwrap(), field: ForwardedField::XForwardedFor };
    let from = |address: &str, path: &str| get(path).field("X-Forwarded-For", address);
    let behind = |http: Http| Config { http: Some(http), trusted_proxies: Some(proxies.clone()), ..config() };
    // By default the metrics are this machine's, and the other two everybody's.
    let server = Server::start(behind(questions()));
    for (address, path, status) in [
        ("203.0.113.7", "/healthz", 200),
        ("203.0.113.7", "/readyz", 200),
        ("203.0.113.7", "/metrics", 403),
        ("127.0.0.1, 203.0.113.7", "/metrics", 403),
        ("127.0.0.1", "/metrics", 200),
        ("::1", "/metrics", 200),
    ] {
        assert_eq!(ask(&server, &from(address, path)).status, status, "{address} {path}");
    }
    let listed = Http { allow: allow(&["10.0.0.0/8", "2001:db8::/32"]), ..questions() };
    let server = Server::start(behind(listed));
    for (address, status) in [("10.9.8.7", 200), ("2001:db8::5", 200), ("203.0.113.7", 403), ("127.0.0.1", 403)] {
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(ask(&server, &from(address, path)).status, status, "{address} {path}");
        }
    }
    // Without a proxy that is trusted nobody's word counts, but that somebody hands it on is seen.
    let server = Server::start(Config { http: Some(questions()), ..config() });
    assert_eq!(ask(&server, &get("/metrics")).status, 200);
    for name in ["X-Forwarded-For", "forwarded", "Via", "X-Real-IP"] {
        assert_eq!(ask(&server, &get("/metrics").field(name, "127.0.0.1")).status, 403, "{name}");
        assert_eq!(ask(&server, &get("/healthz").field(name, "127.0.0.1")).status, 200, "{name}");
    }
    // A page whose name resolves to this machine (DNS rebinding) says so itself; a probe of HTTP/1.0 says nothing.
    let rebound = get("/metrics").without("Host").field("Host", "evil.example");
    assert_eq!(ask(&server, &rebound).status, 403);
    assert_eq!(ask(&server, &get("/metrics").without("Host").line("GET /metrics HTTP/1.0")).status, 200);
}

#[test]
fn a_host_that_reads_no_events_stops_upgrades_and_nothing_else() {
    let server = Server::start(Config { max_inbound_events: 1, ..shared_port() });
    // The connect event nobody takes fills the queue.
    let mut first = Peer::open(server.address);
    first.send_raw(&Request::default().bytes());
    assert_eq!(first.response().status, 101);
    wait_until("events wait", || ask(&server, &get("/readyz")).status == 503);
    assert_eq!(ask(&server, &get("/healthz")).status, 200);
    let mut second = Peer::open(server.address);
    second.send_raw(&Request::default().bytes());
    wait_until("the upgrade waits", || server.health("pending_handshakes") == 1);
    let mut other = Peer::open(server.address);
    other.send_raw(&get("/").bytes());
    drop(taken(&server));
    assert_eq!(server.health("connections"), 1);
    let mut server = server;
    server.events.connected();
    assert_eq!(second.response().status, 101);
    server.events.connected();
}
