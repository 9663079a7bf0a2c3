//! The constructor's DTO: every field set, `null` for none. Turns it into an engine configuration; values were checked by
//! the facade, so what fails here is what only a library can know (keys, certificates).

use std::sync::Arc;

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use wse_crypto::jwt::{Algorithm, JwtConfig, JwtVerifier};
use wse_crypto::tls::{ReloadableTls, TlsConfig};
use wse_crypto::token::TokenSource;
use wse_engine::MAX_SHARDS;
use wse_engine::config::{
    Auth, Config, Endpoint, ForwardedField, InboundOverflow, NoNetwork, Outbox, Presence, RateLimit, SlowConsumer,
    Subscriptions, TrustedProxies,
};

use crate::convert::{bytes, seconds};
use crate::error::{Failure, Outcome};
use crate::http::NativeHttp;
use crate::questions::{NativeQuestions, NativeSnapshots};
use crate::recovery_options::NativeRecovery;
use crate::{inline, memory};

/// Everything an engine needs to know, checked and complete. Times in seconds, sizes in bytes. Every field is always set,
/// `null` for "none": a missing one is a mistake of the facade, never a default.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeOptions {
    pub host: String,
    pub port: Option<u16>,
    pub max_connections: u32,
    pub endpoints: Vec<NativeEndpoint>,
    pub allowed_origins: Option<Vec<String>>,
    pub trust_proxy: Option<NativeTrustProxy>,
    #[napi(ts_type = "'app' | 'acl'")]
    pub subscriptions: String,
    pub authorize: Option<NativeQuestions>,
    pub snapshots: Option<NativeSnapshots>,
    pub server_ready: bool,
    pub jwt: Option<NativeJwtOptions>,
    pub tls: Option<NativeTlsOptions>,
    pub http: Option<NativeHttp>,
    pub recovery: Option<NativeRecovery>,
    pub presence: Option<NativePresence>,
    pub outbox: Option<NativeOutbox>,
    pub rate_limit: NativeRateLimit,
    pub max_message_size: u32,
    pub max_inbound_queue_size: u32,
    pub max_inbound_queue_bytes: f64,
    #[napi(ts_type = "'pause' | 'drop'")]
    pub inbound_overflow: String,
    #[napi(ts_type = "'read' | 'discard'")]
    pub inbound: String,
    pub reader_timeout: f64,
    pub inbound_codecs: bool,
    pub max_json_depth: u32,
    pub max_outbound_queue_bytes: f64,
    #[napi(ts_type = "'drop' | 'close'")]
    pub slow_consumer: String,
    pub max_reassembly_bytes: f64,
    pub max_subscriptions_per_connection: u32,
    pub max_patterns_per_connection: u32,
    pub max_subscription_bytes: f64,
    pub ping_interval: f64,
    pub idle_timeout: f64,
    #[napi(ts_type = "'auto' | 'threads' | 'inline'")]
    pub driver: String,
    pub shards: u32,
    pub reuse_port: bool,
    pub unix: Option<String>,
    pub backlog: i32,
    pub handshake: NativeHandshake,
    pub ask_upgrade: bool,
    pub publisher: NativePublisher,
    pub close_timeout: f64,
}

/// A path that upgrades, `null` for any, and what is spoken there.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeEndpoint {
    pub path: Option<String>,
    #[napi(ts_type = "'wse' | 'raw'")]
    pub protocol: String,
    pub protocols: Vec<String>,
    pub require_protocol: bool,
}

/// Proxies whose word for a client's address counts.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeTrustProxy {
    pub addresses: Vec<String>,
    #[napi(ts_type = "'x-forwarded-for' | 'forwarded' | 'proxy-protocol'")]
    pub header: String,
}

/// Claims and keys the engine checks tokens with. Times in seconds.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeJwtOptions {
    pub secret: Option<Uint8Array>,
    /// Instead of `secret`: keys are asked for, and kept for so long.
    pub keys_ttl: Option<f64>,
    pub algorithm: String,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    #[napi(ts_type = "Array<'cookie' | 'header' | 'query' | 'subprotocol'>")]
    pub from: Vec<String>,
    pub cookie_name: String,
    pub query_name: String,
    pub previous_secret: Option<Uint8Array>,
    pub key_id: Option<String>,
    pub leeway: u32,
    pub allow_missing_claims: bool,
    pub close_on_expiry: bool,
    pub expiry_warning: u32,
    pub max_lifetime: Option<u32>,
    pub max_revocations: u32,
}

/// PEM texts.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeTlsOptions {
    pub cert: Uint8Array,
    pub key: Uint8Array,
}

/// Limits of presence. Bytes, seconds.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativePresence {
    pub max_data_size: f64,
    pub max_members: u32,
    pub grace: f64,
}

/// How much of clients' outboxes is remembered: streams, seconds.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeOutbox {
    pub max_streams: u32,
    pub ttl: f64,
}

/// Tokens and tokens per second.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeRateLimit {
    pub capacity: f64,
    pub refill: f64,
}

/// Bounds of handshakes in progress.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeHandshake {
    pub timeout: f64,
    pub max_pending: u32,
    pub max_pending_per_address: u32,
    pub upgrade_timeout: f64,
    pub max_waiting: u32,
}

/// Marks of publisher pressure: seconds, and bytes per shard.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativePublisher {
    pub target_delay: f64,
    pub high_water_mark: f64,
    pub hard_limit: f64,
}

impl NativeOptions {
    /// Whether the engine is to run on the event loop of its JavaScript thread: because it was asked for, or because one core is
    /// all there is (affinity and quota count).
    pub(crate) fn is_inline(&self) -> Outcome<bool> {
        match self.driver.as_str() {
            "inline" if !inline::is_possible() => {
                Err(Failure::config("'inline' needs a system with descriptors, and Node", "shards"))
            }
            "inline" => Ok(true),
            "auto" => Ok(cores() == 1 && inline::is_possible()),
            _ => Ok(false),
        }
    }

    /// The engine's configuration and its certificate store, which outlives a reload.
    pub(crate) fn into_config(self) -> Outcome<Config> {
        let tls = match &self.tls {
            None => None,
            Some(pair) => {
                let config = TlsConfig::from_pem(&pair.cert, &pair.key)?;
                Some(Arc::new(ReloadableTls::new(config)))
            }
        };
        Ok(Config {
            host: self.host,
            port: self.port,
            max_connections: self.max_connections as usize,
            endpoints: self.endpoints.into_iter().map(NativeEndpoint::into_endpoint).collect(),
            allowed_origins: self.allowed_origins,
            trusted_proxies: self.trust_proxy.map(NativeTrustProxy::into_proxies).transpose()?,
            auth: self.jwt.map(NativeJwtOptions::into_auth).transpose()?,
            tls,
            http: self.http.map(NativeHttp::into_http).transpose()?,
            server_ready: self.server_ready,
            subscriptions: if self.subscriptions == "acl" { Subscriptions::Acl } else { Subscriptions::App },
            recovery: self.recovery.map(NativeRecovery::into_recovery).transpose()?,
            authorize: self.authorize.map(NativeQuestions::into_questions).transpose()?,
            snapshots: self.snapshots.map(NativeSnapshots::into_snapshots).transpose()?,
            presence: self.presence.map(NativePresence::into_presence).transpose()?,
            outbox: self.outbox.map(NativeOutbox::into_outbox).transpose()?,
            rate_limit: RateLimit { capacity: self.rate_limit.capacity, refill: self.rate_limit.refill },
            max_message_size: self.max_message_size as usize,
            release_memory: Some(memory::release),
            max_json_depth: self.max_json_depth,
            inbound_codecs: self.inbound_codecs,
            max_inbound_events: self.max_inbound_queue_size as usize,
            max_inbound_bytes: bytes(self.max_inbound_queue_bytes),
            inbound_overflow: if self.inbound_overflow == "drop" {
                InboundOverflow::Drop
            } else {
                InboundOverflow::Pause
            },
            discard_inbound: self.inbound == "discard",
            reader_timeout: seconds(self.reader_timeout, "readerTimeout")?,
            max_outbound_bytes: bytes(self.max_outbound_queue_bytes),
            slow_consumer: if self.slow_consumer == "close" { SlowConsumer::Close } else { SlowConsumer::Drop },
            max_reassembly_bytes: bytes(self.max_reassembly_bytes),
            max_subscriptions: self.max_subscriptions_per_connection,
            max_patterns: self.max_patterns_per_connection,
            max_subscription_bytes: bytes(self.max_subscription_bytes),
            ping_interval: seconds(self.ping_interval, "pingInterval")?,
            idle_timeout: seconds(self.idle_timeout, "idleTimeout")?,
            close_timeout: seconds(self.close_timeout, "closeTimeout")?,
            handshake_timeout: seconds(self.handshake.timeout, "handshake.timeout")?,
            ask_upgrade: self.ask_upgrade,
            answer_timeout: seconds(self.handshake.upgrade_timeout, "handshake.upgradeTimeout")?,
            max_waiting: self.handshake.max_waiting as usize,
            max_pending: self.handshake.max_pending as usize,
            max_pending_per_address: self.handshake.max_pending_per_address as usize,
            shards: shards(self.shards),
            reuse_port: self.reuse_port,
            unix: self.unix.map(Into::into),
            backlog: self.backlog,
            target_delay: seconds(self.publisher.target_delay, "publisher.targetDelay")?,
            high_water_mark: bytes(self.publisher.high_water_mark),
            hard_limit: bytes(self.publisher.hard_limit),
        })
    }
}

impl NativeEndpoint {
    fn into_endpoint(self) -> Endpoint {
        Endpoint {
            path: self.path,
            raw: self.protocol == "raw",
            protocols: self.protocols.into_iter().map(Into::into).collect(),
            require_protocol: self.require_protocol,
        }
    }
}

impl NativePresence {
    fn into_presence(self) -> Outcome<Presence> {
        Ok(Presence {
            max_data: bytes(self.max_data_size),
            max_members: self.max_members as usize,
            grace: seconds(self.grace, "presence.grace")?,
        })
    }
}

impl NativeOutbox {
    fn into_outbox(self) -> Outcome<Outbox> {
        Ok(Outbox { max_streams: self.max_streams as usize, ttl: seconds(self.ttl, "outbox.ttl")? })
    }
}

impl NativeTrustProxy {
    fn into_proxies(self) -> Outcome<TrustedProxies> {
        let parse = |(index, text): (usize, &String)| {
            text.parse().map_err(|error: NoNetwork| Failure::config(error, format!("trustProxy.addresses[{index}]")))
        };
        let networks = self.addresses.iter().enumerate().map(parse).collect::<Outcome<_>>()?;
        let field = match self.header.as_str() {
            "forwarded" => ForwardedField::Forwarded,
            "proxy-protocol" => ForwardedField::ProxyProtocol,
            _ => ForwardedField::XForwardedFor,
        };
        Ok(TrustedProxies { networks, field })
    }
}

impl NativeJwtOptions {
    fn into_auth(self) -> Outcome<Auth> {
        let ask_keys = self.keys_ttl.map(|ttl| seconds(ttl, "jwt.keysTtl")).transpose()?;
        let make = if ask_keys.is_some() { JwtVerifier::keyless } else { JwtVerifier::new };
        let verifier = make(JwtConfig {
            key: self.secret.map(|key| key.to_vec()).unwrap_or_default(),
            previous_key: self.previous_secret.map(|key| key.to_vec()),
            key_id: self.key_id,
            issuer: self.issuer,
            audience: self.audience,
            leeway_secs: u64::from(self.leeway),
            allow_missing_claims: self.allow_missing_claims,
            ..JwtConfig::new(self.algorithm.parse::<Algorithm>()?, Vec::new())
        });
        let sources = self.from.iter().map(|source| match source.as_str() {
            "cookie" => Ok(TokenSource::Cookie(self.cookie_name.clone())),
            "header" => Ok(TokenSource::Header),
            "query" => Ok(TokenSource::Query(self.query_name.clone())),
            "subprotocol" => Ok(TokenSource::Subprotocol),
            other => Err(Failure::config(format!("{other} is no place for a token"), "jwt.from")),
        });
        Ok(Auth {
            verifier: verifier?,
            ask_keys,
            sources: sources.collect::<Outcome<_>>()?,
            close_on_expiry: self.close_on_expiry,
            leeway_secs: u64::from(self.leeway),
            expiry_warning_secs: u64::from(self.expiry_warning),
            max_lifetime_secs: self.max_lifetime.map(u64::from),
            max_revocations: self.max_revocations as usize,
        })
    }
}

/// 0 stands for one shard per core but one, which is JavaScript's: with as many shards as cores they push the publishing
/// thread off its core (docs/design/shards.md).
fn shards(wanted: u32) -> usize {
    let wanted = if wanted == 0 { cores() - 1 } else { wanted as usize };
    wanted.clamp(1, MAX_SHARDS)
}

/// Cores this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
