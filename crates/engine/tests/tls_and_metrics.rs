//! wss:// with a certificate that is replaced while it serves; and the text every dashboard reads (docs/operations.md).

use std::io::Write;
use std::net::TcpStream;

use wse_engine::config::Config;
use wse_testkit::{Certificate, Event, Peer, Request, Server, config, wait_until};

#[test]
fn a_certificate_is_replaced_while_it_serves() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let mut server = Server::start(Config { tls: Some(old.server()), ..config() });
    let mut first = Peer::open_tls(server.address, &old).unwrap().upgraded(&Request::default());
    let id = server.events.connected();
    assert!(Peer::open_tls(server.address, &new).is_err());
    assert_eq!(server.engine.reload_tls(b"nonsense", b"nonsense").unwrap_err().code(), "WSE_TLS_INVALID");
    assert!(server.engine.reload_tls(new.cert.as_bytes(), old.key.as_bytes()).is_err(), "not a pair");
    drop(Peer::open_tls(server.address, &old).unwrap());
    server.engine.reload_tls(new.cert.as_bytes(), new.key.as_bytes()).unwrap();
    assert!(Peer::open_tls(server.address, &old).is_err());
    let mut second = Peer::open_tls(server.address, &new).unwrap().upgraded(&Request::default());
    let second_id = server.events.connected();
    // The first keeps what it has.
    let large = "x".repeat(300_000);
    for (peer, id) in [(&mut first, id), (&mut second, second_id)] {
        server.subscribe(id, &["t"]);
        peer.send_text(&large);
        assert_eq!(server.events.event(), Event::Raw(id, large.clone()));
    }
    for n in 0..20 {
        server.engine.broadcast("t", &format!("{n}{large}"));
    }
    for peer in [&mut first, &mut second] {
        for n in 0..20 {
            assert_eq!(peer.text(), format!("{n}{large}"));
        }
        assert_eq!(peer.frames_until_pong("end"), []);
    }
    first.send_close(1000);
    first.expect_close(1000);
    first.expect_end();
    let plain = Server::plain();
    assert_eq!(plain.engine.reload_tls(new.cert.as_bytes(), new.key.as_bytes()).unwrap_err().code(), "WSE_TLS_INVALID");
}

#[test]
fn plain_text_and_silence_on_a_tls_port_end_in_time() {
    let certificate = Certificate::new();
    let time = std::time::Duration::from_millis(1500);
    let server = Server::start(Config { tls: Some(certificate.server()), handshake_timeout: time, ..config() });
    let mut plain = Peer::open(server.address);
    plain.send_raw(&Request::default().bytes());
    assert!(plain.try_response().is_err());
    let _silent = Peer::open(server.address);
    let mut cut = std::net::TcpStream::connect(server.address).unwrap();
    cut.write_all(b"\x16\x03\x01\x00\xf8\x01").unwrap();
    drop(cut);
    wait_until("all are gone", || {
        server.health("pending_handshakes") == 0 && server.metric("wse_connections_rejected_total") >= 3.0
    });
    Peer::open_tls(server.address, &certificate).unwrap();
}

#[test]
fn a_flood_of_client_hellos_takes_turns_with_everybody_else() {
    const HELLOS: usize = 200;
    let certificate = Certificate::new();
    let server = Server::start(Config { tls: Some(certificate.server()), shards: 1, ..config() });
    let mut bystander = Peer::open_tls(server.address, &certificate).unwrap().upgraded(&Request::default());
    let hello = certificate.client_hello();
    // The share of the waiting hellos that is answered while the bystander waits for its pong.
    let mut shares: Vec<f64> = (0..5)
        .map(|_| {
            let mut flood: Vec<TcpStream> = (0..HELLOS)
                .map(|_| {
                    let socket = TcpStream::connect(server.address).unwrap();
                    socket.set_nonblocking(true).unwrap();
                    socket
                })
                .collect();
            wait_until("all are pending", || server.health("pending_handshakes") == HELLOS as u64);
            for socket in &mut flood {
                socket.write_all(&hello).unwrap();
            }
            let unanswered = || {
                let count = flood.iter().filter(|socket| socket.peek(&mut [0]).is_err()).count();
                f64::from(u32::try_from(count).unwrap())
            };
            let before = unanswered();
            assert_eq!(bystander.frames_until_pong("x"), []);
            let after = unanswered();
            drop(flood);
            wait_until("the flood is over", || server.health("pending_handshakes") == 0);
            (before - after) / before.max(1.0)
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    assert!(shares[2] < 0.25, "{shares:?}");
}

#[test]
fn the_metrics_have_every_published_name() {
    let mut server = Server::plain();
    let (mut peer, id) = server.connect();
    server.subscribe(id, &["odd \"name\" \\ here", "quiet"]);
    for _ in 0..3 {
        server.engine.broadcast("odd \"name\" \\ here", "x");
        peer.text();
    }
    peer.send_text("y");
    server.events.event();
    let text = server.engine.prometheus();
    let gauges =
        ["wse_connections", "wse_inbound_queue_depth", "wse_uptime_seconds", "wse_topics", "wse_cluster_peers"];
    let counters = [
        "wse_messages_received_total",
        "wse_messages_sent_total",
        "wse_connections_accepted_total",
        "wse_connections_rejected_total",
        "wse_bytes_received_total",
        "wse_bytes_sent_total",
        "wse_auth_failures_total",
        "wse_rate_limited_total",
        "wse_inbound_dropped_total",
        "wse_slow_consumer_drops_total",
        "wse_cluster_messages_sent_total",
        "wse_cluster_messages_delivered_total",
        "wse_cluster_messages_dropped_total",
        "wse_cluster_bytes_sent_total",
        "wse_cluster_bytes_received_total",
        "wse_cluster_reconnects_total",
    ];
    let histograms = ["wse_handshake_seconds", "wse_queue_wait_seconds", "wse_fan_out_seconds"];
    for (names, kind) in [(&gauges[..], "gauge"), (&counters[..], "counter"), (&histograms[..], "histogram")] {
        for name in names {
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
            let sample = if kind == "histogram" { format!("\n{name}_count ") } else { format!("\n{name} ") };
            assert!(text.contains(&sample), "{name} has no sample");
        }
    }
    assert!(text.contains("\nwse_topic_messages_total{topic=\"odd \\\"name\\\" \\\\ here\"} 3\n"));
    assert!(!text.contains("quiet"), "topics without publications are left out");
    let uptime = text.lines().find(|line| line.starts_with("wse_uptime_seconds ")).unwrap();
    assert_eq!(uptime.split('.').nth(1).map(str::len), Some(1), "{uptime}");
    assert_eq!(server.metric("wse_messages_sent_total"), 3.0);
    assert_eq!(server.metric("wse_messages_received_total"), 1.0);
    assert_eq!(server.metric("wse_handshake_seconds_count"), 1.0);
    // Each family once, HELP and TYPE before its samples.
    let mut seen = std::collections::HashSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(seen.insert(line.split(' ').next().unwrap().to_owned()), "{line} twice");
    }
    // What the health snapshot must hold.
    let health = server.engine.health();
    for name in [
        "connections",
        "inbound_queue_depth",
        "inbound_dropped",
        "cluster_connected",
        "cluster_peer_count",
        "cluster_messages_sent",
        "cluster_messages_delivered",
        "cluster_messages_dropped",
        "cluster_bytes_sent",
        "cluster_bytes_received",
        "cluster_reconnect_count",
        "cluster_unknown_message_types",
        "cluster_dlq_size",
        "uptime_secs",
        "recovery_enabled",
        "recovery_topic_count",
        "recovery_total_bytes",
        "presence_enabled",
    ] {
        assert!(health.get(name).is_some(), "{name}");
    }
}
