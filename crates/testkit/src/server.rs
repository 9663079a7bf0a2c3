//! An engine with values that suit tests, started on a free port, with a consumer that has joined. Owns the engine's life.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use wse_engine::config::{Config, Endpoint, InboundOverflow, Outbox, RateLimit, SlowConsumer, Subscriptions};
use wse_engine::{ConnId, Engine, State, Step};
use wse_protocol::close_code::CloseCode;

use crate::events::{Event, Events};
use crate::peer::Peer;
use crate::request::Request;

/// A configuration with generous limits and time limits long enough not to matter; tests change what they are about.
pub fn config() -> Config {
    Config {
        host: "127.0.0.1".into(),
        port: Some(0),
        unix: None,
        backlog: 4096,
        reuse_port: false,
        max_connections: 10_000,
        endpoints: vec![Endpoint::default()],
        allowed_origins: None,
        trusted_proxies: None,
        auth: None,
        tls: None,
        http: None,
        server_ready: false,
        subscriptions: Subscriptions::App,
        recovery: None,
        authorize: None,
        snapshots: None,
        presence: None,
        outbox: Some(Outbox { max_streams: 1024, ttl: Duration::from_secs(3600) }),
        rate_limit: RateLimit { capacity: 100_000.0, refill: 10_000.0 },
        max_message_size: 1 << 20,
        max_json_depth: 64,
        inbound_codecs: true,
        max_inbound_events: 131_072,
        max_inbound_bytes: 64 << 20,
        inbound_overflow: InboundOverflow::Pause,
        discard_inbound: false,
        reader_timeout: Duration::from_secs(60),
        max_outbound_bytes: 16 << 20,
        slow_consumer: SlowConsumer::Drop,
        max_reassembly_bytes: 64 << 20,
        max_subscriptions: 0,
        max_patterns: 0,
        max_subscription_bytes: 0,
        // The first pings are spread over the interval: of a thousand connections one comes within its thousandth part.
        ping_interval: Duration::from_secs(500_000),
        idle_timeout: Duration::from_secs(1_000_000),
        close_timeout: Duration::from_secs(5),
        handshake_timeout: Duration::from_secs(10),
        ask_upgrade: false,
        answer_timeout: Duration::from_secs(5),
        max_waiting: 1024,
        max_pending: 1024,
        max_pending_per_address: 1024,
        release_memory: None,
        shards: 2,
        target_delay: Duration::from_millis(10),
        high_water_mark: 16 << 20,
        hard_limit: 64 << 20,
    }
}

/// Where a server without a port listens.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Name of the thread whose event loop an engine without threads runs on here.
const INLINE_THREAD: &str = "event-loop";

/// Name of the thread on which [`Server::start`] has the first shard of an engine run.
pub fn shard_thread() -> &'static str {
    if is_inline() { INLINE_THREAD } else { "wse-shard-0" }
}

/// Whether [`Server::start`] starts engines without threads.
pub fn is_inline() -> bool {
    std::env::var_os("WSE_TEST_DRIVER").is_some_and(|driver| driver == "inline")
}

/// A running engine and its first consumer.
pub struct Server {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Where it listens; port 0 of no address: nowhere.
    pub address: SocketAddr,
    /// Its events.
    pub events: Events,
}

impl Server {
    /// Starts an engine.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(config: Config) -> Self {
        if is_inline() {
            return Self::start_inline(config);
        }
        let engine = Arc::new(Engine::new(config));
        let events = Events::join(&engine);
        let address = engine.start().expect("a free port").unwrap_or(NOWHERE);
        Self { engine, address, events }
    }

    /// Starts an engine without threads, on an event loop of this server's own: what every test does when the environment
    /// says `WSE_TEST_DRIVER=inline`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_inline(config: Config) -> Self {
        let engine = Arc::new(Engine::new(Config { shards: 1, ..config }));
        let events = Events::join(&engine);
        let (tell, told) = std::sync::mpsc::channel();
        let bound = engine.bind().expect("a free port");
        let host = Arc::clone(&engine);
        let serve = move || {
            let mut inline = host.start_inline(bound).expect("an event loop");
            tell.send(inline.address().unwrap_or(NOWHERE)).expect("somebody who waits");
            drop(host);
            loop {
                match inline.step(true) {
                    Step::More => {}
                    Step::Idle => inline.wait(Duration::from_millis(100)),
                    Step::Ended => return,
                }
            }
        };
        std::thread::Builder::new().name(INLINE_THREAD.into()).spawn(serve).expect("a thread");
        let address = told.recv().expect("a started engine");
        Self { engine, address, events }
    }

    /// An engine with [`config`].
    pub fn plain() -> Self {
        Self::start(config())
    }

    /// Connects a peer; the next event must be its connect.
    #[track_caller]
    pub fn connect(&mut self) -> (Peer, ConnId) {
        self.connect_with(&Request::default())
    }

    /// As [`Self::connect`], whatever has been heard before: that is given up.
    #[track_caller]
    pub fn connect_anew(&mut self) -> (Peer, ConnId) {
        let peer = Peer::connect(self.address);
        let is_connect = |event: &Event| matches!(event, Event::Connect(..) | Event::AuthConnect(..));
        let heard = self.events.collect_until(|events| events.last().is_some_and(is_connect));
        let id = heard.last().map(Event::connection);
        (peer, id.expect("the last is a connect"))
    }

    /// As [`Self::connect`], with this request.
    #[track_caller]
    pub fn connect_with(&mut self, request: &Request) -> (Peer, ConnId) {
        let peer = Peer::connect_with(self.address, request);
        (peer, self.events.connected())
    }

    /// Subscribes a connection to `topics`.
    #[track_caller]
    pub fn subscribe(&self, id: ConnId, topics: &[&str]) {
        let names: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        assert_eq!(self.engine.subscribe(id, &names, None), wse_engine::Subscribed::Accepted(topics.len()));
    }

    /// A number of the health snapshot.
    ///
    /// # Panics
    /// When it has no such number.
    #[track_caller]
    pub fn health(&self, name: &str) -> u64 {
        self.engine.health()[name].as_u64().unwrap_or_else(|| panic!("no number {name} in the health snapshot"))
    }

    /// A sample of the metrics text by its exact name and labels.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        self.sample(name)
    }

    /// A counter of the metrics text by its exact name and labels.
    ///
    /// # Panics
    /// When there is none, or when it is not a whole number.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        self.sample(name)
    }

    #[track_caller]
    fn sample<T: std::str::FromStr>(&self, name: &str) -> T {
        let text = self.engine.prometheus();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no sample {name}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.engine.state() != State::Stopped {
            self.engine.stop(CloseCode::SERVICE_RESTART, "", Duration::ZERO);
        }
    }
}
