//! TLS against a real client: what is negotiated, what reload changes and what it leaves alone.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use wse_crypto::tls::{ReloadableTls, TlsConfig, TlsStream};

type Client = tokio_rustls::client::TlsStream<TcpStream>;

struct Cert {
    pem: String,
    key: String,
    der: CertificateDer<'static>,
}

fn cert() -> Cert {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Cert { pem: cert.pem(), key: signing_key.serialize_pem(), der: cert.der().clone() }
}

fn tls(cert: &Cert) -> Arc<ReloadableTls> {
    Arc::new(ReloadableTls::new(TlsConfig::from_pem(cert.pem.as_bytes(), cert.key.as_bytes()).unwrap()))
}

fn client(trusted: &[&Cert], versions: &[&'static SupportedProtocolVersion], alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for cert in trusted {
        roots.add(cert.der.clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// One handshake, both sides at once.
async fn connect(tls: &ReloadableTls, client: &TlsConnector) -> (io::Result<TlsStream<TcpStream>>, io::Result<Client>) {
    let (listener, address) = listen().await;
    let server = async { tls.accept(listener.accept().await.unwrap().0).await };
    let client = async {
        let name = ServerName::try_from("localhost").unwrap();
        client.connect(name, TcpStream::connect(address).await.unwrap()).await
    };
    tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(server, client) }).await.unwrap()
}

async fn echo(server: &mut TlsStream<TcpStream>, client: &mut Client, text: &[u8]) {
    let mut got = vec![0; text.len()];
    client.write_all(text).await.unwrap();
    client.flush().await.unwrap();
    server.read_exact(&mut got).await.unwrap();
    server.write_all(&got).await.unwrap();
    server.flush().await.unwrap();
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(got, text);
}

fn certificate(client: &Client) -> CertificateDer<'static> {
    client.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn both_versions_are_spoken_with_http11() {
    let cert = cert();
    let tls = tls(&cert);
    for (versions, expected) in [
        (BOTH, ProtocolVersion::TLSv1_3),
        (&BOTH[..1], ProtocolVersion::TLSv1_3),
        (&BOTH[1..], ProtocolVersion::TLSv1_2),
    ] {
        let (server, client) = connect(&tls, &client(&[&cert], versions, &[b"h2", b"http/1.1"])).await;
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        assert_eq!(server.get_ref().1.protocol_version(), Some(expected));
        assert_eq!(server.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        echo(&mut server, &mut client, b"hello").await;
    }
}

#[tokio::test]
async fn a_client_without_alpn_is_served_and_one_that_insists_on_h2_is_not() {
    let cert = cert();
    let tls = tls(&cert);
    let (server, _client) = connect(&tls, &client(&[&cert], BOTH, &[])).await;
    assert_eq!(server.unwrap().get_ref().1.alpn_protocol(), None);
    let (server, client) = connect(&tls, &client(&[&cert], BOTH, &[b"h2"])).await;
    assert!(server.is_err() && client.is_err());
}

#[tokio::test]
async fn sessions_are_resumed() {
    let cert = cert();
    let tls = tls(&cert);
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let connector = client(&[&cert], versions, &[]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (server, client) = connect(&tls, &connector).await;
            let (mut server, mut client) = (server.unwrap(), client.unwrap());
            // The ticket of TLS 1.3 comes after the handshake.
            echo(&mut server, &mut client, b"x").await;
            assert_eq!(server.get_ref().1.handshake_kind(), Some(expected));
        }
    }
}

#[tokio::test]
async fn more_than_the_buffer_passes() {
    let cert = cert();
    let (server, client) = connect(&tls(&cert), &client(&[&cert], BOTH, &[])).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    let payload = vec![7; 1 << 20];
    let send = async {
        server.write_all(&payload).await.unwrap();
        server.flush().await.unwrap();
    };
    let mut got = vec![0; payload.len()];
    let (_, read) = tokio::join!(send, client.read_exact(&mut got));
    read.unwrap();
    assert_eq!(got, payload);
}

#[tokio::test]
async fn reload_serves_new_connections_and_leaves_open_ones_alone() {
    let (old, new) = (cert(), cert());
    let tls = tls(&old);
    let connector = client(&[&old, &new], BOTH, &[]);
    let (server, before) = connect(&tls, &connector).await;
    let (mut server, mut before) = (server.unwrap(), before.unwrap());

    // A handshake under way: accepted before the reload, finished after it.
    let (listener, address) = listen().await;
    let socket = TcpStream::connect(address).await.unwrap();
    let under_way = tls.accept(listener.accept().await.unwrap().0);

    tls.reload(new.pem.as_bytes(), new.key.as_bytes()).unwrap();
    echo(&mut server, &mut before, b"still here").await;
    assert_eq!(certificate(&before), old.der);

    let fresh = client(&[&old, &new], BOTH, &[]);
    let name = ServerName::try_from("localhost").unwrap();
    let (_, finished) = tokio::join!(under_way, fresh.connect(name, socket));
    assert_eq!(certificate(&finished.unwrap()), old.der);

    // Even a client that holds a ticket of the old certificate gets the new one.
    let (server, after) = connect(&tls, &connector).await;
    assert_eq!(server.unwrap().get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(certificate(&after.unwrap()), new.der);
}

#[tokio::test]
async fn a_bad_pair_is_refused_and_the_old_one_stays() {
    let (old, other) = (cert(), cert());
    let tls = tls(&old);
    let bad: [(&str, &str, &str); 7] = [
        (&other.pem, &old.key, "key"),
        (&old.pem, &other.key, "key"),
        ("", &old.key, "cert"),
        (&old.pem, "", "key"),
        (&old.key, &old.key, "cert"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &old.key, "cert"),
        (&old.pem, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "key"),
    ];
    for (cert, key, field) in bad {
        let error = tls.reload(cert.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(error.field, field, "{error}");
    }
    let (_server, client) = connect(&tls, &client(&[&old], BOTH, &[])).await;
    assert_eq!(certificate(&client.unwrap()), old.der);
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_gets_an_error() {
    let tls = tls(&cert());
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0; 64], b""] {
        let (listener, address) = listen().await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        assert!(tls.accept(listener.accept().await.unwrap().0).await.is_err());
    }
}

#[test]
fn errors_show_no_key() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let error = TlsConfig::from_pem(cert().pem.as_bytes(), key.as_bytes()).unwrap_err();
    let line = key.lines().nth(1).unwrap();
    assert!(!format!("{error} {error:?}").contains(line));
}
