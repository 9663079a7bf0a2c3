//! Requests on the engine's port that are no upgrades of its own: what the options say about them, and the sockets that cross to
//! Node's HTTP server, as many as wait in one call.

use std::net::{IpAddr, Ipv4Addr};

use napi::bindgen_prelude::{Function, Uint8Array};
use napi_derive::napi;
use wse_engine::config::{Http, NoNetwork};
use wse_engine::{Relay, Released, Source};

use crate::error::{Failure, Outcome};
use crate::{inline, registry, wake};

/// Sockets that may wait for JavaScript.
const MAX_WAITING: usize = 1024;

/// What happens to requests on the port that are no upgrades. Paths, `null` for none; addresses and networks, `null` for the
/// default.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeHttp {
    pub health: Option<String>,
    pub ready: Option<String>,
    pub metrics: Option<String>,
    pub allow: Option<Vec<String>>,
    pub hands_over: bool,
}

/// A connection whose requests are Node's: its descriptor, which is JavaScript's to close, what was read of it, and where it comes
/// from.
#[napi(object, object_from_js = false)]
pub struct NativeSocket {
    pub fd: i32,
    pub head: Uint8Array,
    pub source: NativeSource,
}

/// Where a connection comes from, as the engine judges its requests: an address, `null` for a peer that came through a file, and
/// whether only requests for this machine, by a name of its own, are answered.
#[napi(object, use_nullable = true)]
pub struct NativeSource {
    pub address: Option<String>,
    pub loopback: bool,
}

/// A request that may be a question the engine answers: method and target, and what decides who may ask. `said`: the field in which
/// trusted proxies name the client, empty if there is none; `relayed`: there are others that only who hands requests on writes.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeProbe {
    pub line: String,
    pub host: Option<String>,
    pub said: String,
    pub relayed: bool,
    pub source: NativeSource,
}

/// What the engine says about itself.
#[napi(object, object_from_js = false)]
pub struct NativeReply {
    pub status: u16,
    pub kind: String,
    pub body: String,
}

/// Limits because of which somebody was answered 503 since the start.
#[napi(object, object_from_js = false)]
pub struct NativeLimitsMet {
    pub connections: bool,
    pub pending: bool,
    pub per_address: bool,
}

impl NativeHttp {
    pub(crate) fn into_http(self) -> Outcome<Http> {
        let parse = |(index, text): (usize, &String)| {
            text.parse().map_err(|error: NoNetwork| Failure::config(error, format!("http.allow[{index}]")))
        };
        let allow = self.allow.map(|allow| allow.iter().enumerate().map(parse).collect::<Outcome<_>>()).transpose()?;
        let Self { health, ready, metrics, hands_over, .. } = self;
        Ok(Http { health, ready, metrics, allow, hands_over, max_waiting: MAX_WAITING })
    }
}

/// One unreferenced wake when sockets wait where none waited before, and one at once if some do.
#[napi]
pub fn on_sockets(handle: u32, #[napi(ts_arg_type = "() => void")] callback: Function<'_, (), ()>) -> napi::Result<()> {
    let Some(engine) = registry::find(handle) else { return Ok(()) };
    let wake = match inline::find(handle) {
        Some(host) => host.wake(&callback, None)?,
        None => wake::from_function(&callback)?,
    };
    engine.on_sockets(wake);
    Ok(())
}

/// Takes the socket that waits longest; null: none does, and the next to come wakes. Its descriptor is the caller's from then on:
/// one at a time, because those of a thread that is terminated would be nobody's.
#[napi(ts_return_type = "NativeSocket | null")]
pub fn take_socket(handle: u32) -> Option<NativeSocket> {
    registry::find(handle)?.take_sockets(1).pop().and_then(socket)
}

/// From here on whoever would be handed over is answered 503.
#[napi]
pub fn refuse_sockets(handle: u32) {
    if let Some(engine) = registry::find(handle) {
        engine.refuse_sockets();
    }
}

/// What the engine says to a question that came behind other requests of a connection; null: it is no question.
#[napi(ts_return_type = "NativeReply | null")]
pub fn probe(handle: u32, asked: NativeProbe) -> Option<NativeReply> {
    let NativeProbe { line, host, said, relayed, source } = asked;
    let loopback = source.loopback;
    // Who comes through a file is on this machine; whose address cannot be read is nobody.
    let address = source.into_source().map(|source| source.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let relay = Relay { said: said.into_bytes(), others: relayed };
    let reply = registry::find(handle)?.probe(&line, host.as_deref(), relay, address, loopback)?;
    Some(NativeReply { status: reply.status, kind: reply.kind.into(), body: (*reply.body).into() })
}

/// The limits that turned somebody away; null: there is no such engine any more.
#[napi]
pub fn limits_met(handle: u32) -> Option<NativeLimitsMet> {
    let met = registry::find(handle)?.limits_met();
    Some(NativeLimitsMet { connections: met.connections, pending: met.pending, per_address: met.per_address })
}

impl NativeSource {
    /// `None`: the address cannot be read.
    pub(crate) fn into_source(self) -> Option<Source> {
        let Self { address, loopback } = self;
        // The zone of a link-local address says which of our interfaces it came by.
        let parse = |address: String| address.split('%').next().unwrap_or_default().parse().ok();
        let address = match address {
            Some(address) => Some(parse(address)?),
            None => None,
        };
        Some(Source { address, loopback })
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "there are systems without descriptors")]
fn socket(handed: Released) -> Option<NativeSocket> {
    use std::os::fd::IntoRawFd;
    let Released { stream, head, source: Source { address, loopback } } = handed;
    let source = NativeSource { address: address.map(|address| address.to_string()), loopback };
    Some(NativeSocket { fd: stream.into_raw_fd(), head: Uint8Array::new(head), source })
}

/// The facade refuses the option on such systems.
#[cfg(not(unix))]
fn socket(_: Released) -> Option<NativeSocket> {
    None
}
