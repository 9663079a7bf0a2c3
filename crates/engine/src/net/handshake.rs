//! One socket's way into a shard: TLS, the request, what is judged of it, the answer. A request that is there whole is answered
//! at once; every other handshake runs as a task of the shard, bounded in time and bytes. Ends when the connection is adopted or
//! refused.

use std::future::poll_fn;
use std::io::{self, Read};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use wse_crypto::tls::{ReloadableTls, TlsStream};
use wse_protocol::close_code::CloseCode;
use wse_protocol::envelope::{AuthFailure, auth_error};
use wse_protocol::frame::{Opcode, push_close, push_frame};

use super::arrival::untuned;
use super::door::{Door, look, must_wait};
use super::http::{Refusal, read_until};
use super::judge::{Asker, Granted, Identity, Verdict, decide};
use super::parked::park;
use super::proxied::read_proxied;
use crate::admission::Place;
use crate::asking::Seat;
use crate::clock::unix_millis;
use crate::conn::Transport;
use crate::mailbox::{Handed, Incoming};
use crate::metrics::bump;
use crate::reactor::Stream;
use crate::registry::Origin;
use crate::shard::{Admitted, NotAdopted, SharedShard};
use crate::shared::Shared;
use crate::turns::{Turns, in_turns};

/// Time a TLS handshake may take, whatever the whole upgrade may.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// Time a proxy has to name the client.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request that is looked at without waiting: most fit.
const READ_NOW: usize = 2048;
/// Pause between looks at a host that reads no events.
const WAIT_FOR_HOST: Duration = Duration::from_millis(20);
/// Bytes a refused peer may still send before the socket is dropped.
const LINGER_BYTES: usize = 64 * 1024;

/// What the listener knows of a socket.
struct Found {
    accepted: Instant,
    /// Its place in the shard's load.
    load: Place,
}

/// Serves the handshake of one socket: `at_once` if its request is there, else as a task of the shard.
pub(crate) fn begin(shared: Arc<Shared>, shard: SharedShard, incoming: Incoming, at_once: bool) {
    // Only what has no TLS in between, no proxy's word before it, and nothing to say first, can be looked at without waiting.
    let waits = match &incoming.handed {
        None => shared.config.tls.is_some() || begins_with_header(&shared, incoming.address),
        Some(handed) => handed.key.is_some(),
    };
    if !at_once || waits {
        spawn_local(serve(shared, shard, incoming, None));
        return;
    }
    match catch_unwind(AssertUnwindSafe(|| serve_now(&shared, &shard, incoming))) {
        Ok(None) => {}
        Ok(Some((incoming, verdict))) => drop(spawn_local(serve(shared, shard, incoming, verdict))),
        Err(_) => {
            shared.shards[shard.borrow().index()].counters.panics.add(1);
            bump(&shared.counters.rejected);
        }
    }
}

/// Serves a handshake whose request is there whole and good; any other it leaves to a task. A herd of clients that come back
/// sends its requests while it waits to be accepted: each is then one read, and needs no task and no timer.
fn serve_now(shared: &Arc<Shared>, shard: &SharedShard, mut incoming: Incoming) -> Option<(Incoming, Option<Verdict>)> {
    let mut bytes = [0; READ_NOW];
    let read = match incoming.early.is_empty() {
        // The listener accepts sockets that do not block. An end or an error is found again by the task.
        true => (&incoming.stream).read(&mut bytes).unwrap_or(0),
        false => 0,
    };
    let seen = if incoming.early.is_empty() { &bytes[..read] } else { incoming.early.as_slice() };
    let errand = look(&mut Door::at(shared, &incoming), seen, 0, shared.config.ask_upgrade)
        .filter(|errand| !must_wait(shared, errand));
    let verdict = errand.map(|errand| decide(shared, errand, Asker::of(shared, &incoming)));
    if read > 0 && matches!(verdict, None | Some(Verdict::HandOver)) {
        incoming.early = bytes[..read].to_vec();
    }
    match verdict {
        None => Some((incoming, None)),
        Some(Verdict::HandOver) => {
            let source = Asker::of(shared, &incoming).source(shared);
            match shared.hand_over(untuned(incoming.stream), incoming.early, source) {
                Ok(()) => None,
                Err(stream) => {
                    let back = Incoming { stream, early: Vec::new(), ..incoming };
                    Some((back, Some(Verdict::Refuse(Refusal::Unavailable))))
                }
            }
        }
        Some(Verdict::Admit(granted)) => {
            let Incoming { stream, accepted, permit: _permit, load, .. } = incoming;
            let stream = shard.borrow().reactor().adopt(stream);
            let ended = stream.map(|stream| finish(shard, stream.into(), *granted, Found { accepted, load }));
            if !matches!(ended, Ok(Outcome::Adopted)) {
                bump(&shared.counters.rejected);
            }
            None
        }
        verdict => Some((incoming, verdict)),
    }
}

/// What a handshake ended with.
enum Outcome {
    /// The socket is a connection, or was one.
    Adopted,
    /// It was no upgrade: the engine has answered, or the host will.
    Served,
    /// It was refused; the peer has been told, if there was a way to.
    Refused,
}

async fn serve(shared: Arc<Shared>, shard: SharedShard, incoming: Incoming, verdict: Option<Verdict>) {
    let index = shard.borrow().index();
    let mut attempt = pin!(timeout(shared.config.handshake_timeout, attempt(&shared, &shard, incoming, verdict)));
    let poll = |cx: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    };
    match poll_fn(poll).await {
        Some(Ok(Ok(Outcome::Adopted | Outcome::Served))) => return,
        // Refused, failed, too slow, or one too many: the socket is dropped, and its places come back with it.
        Some(Ok(Ok(Outcome::Refused) | Err(_)) | Err(_)) => {}
        None => shared.shards[index].counters.panics.add(1),
    }
    bump(&shared.counters.rejected);
}

/// A handshake until it ends, or until a newer one needs its place. `verdict`: the answer, if the request was there whole.
async fn attempt(
    shared: &Arc<Shared>,
    shard: &SharedShard,
    incoming: Incoming,
    verdict: Option<Verdict>,
) -> io::Result<Outcome> {
    let (mut asker, mut door) = (Asker::of(shared, &incoming), Door::at(shared, &incoming));
    let Incoming { stream, accepted, early: mut head, handed, mut permit, load, .. } = incoming;
    let standing = permit.standing();
    let admit = async {
        // None of them blocks.
        let mut stream = shard.borrow().reactor().adopt(stream)?;
        let is_fresh = handed.is_none() && head.is_empty() && verdict.is_none();
        if is_fresh && begins_with_header(shared, asker.address) {
            asker.address = proxied_address(shared, &mut stream).await?.unwrap_or(asker.address);
            if !standing.assign(asker.address) {
                return turn_away(shared, stream).await;
            }
        }
        let mut transport = connect(shared, shard, stream, handed).await?;
        let verdict = match verdict {
            Some(verdict) => verdict,
            None => {
                let keep = shared.config.ask_upgrade;
                let look = |bytes: &[u8], known| look(&mut door, bytes, known, keep);
                let errand = read_until(&mut transport, &mut head, look).await?;
                while must_wait(shared, &errand) {
                    sleep(WAIT_FOR_HOST).await;
                }
                decide(shared, errand, asker)
            }
        };
        let (verdict, seat) = match verdict {
            Verdict::Park(parked) => park(shared, &standing, &mut transport, *parked).await?,
            verdict => (verdict, None),
        };
        match verdict {
            Verdict::HandOver if shared.outlet.has_room() => {
                shared
                    .hand_over(untuned(transport.into_socket()?), head, asker.source(shared))
                    .map_err(|_| io::ErrorKind::ConnectionAborted)?;
                Ok(Outcome::Served)
            }
            Verdict::HandOver => {
                bump(&shared.counters.handed_refused);
                refuse(&mut transport, Refusal::Unavailable.response().as_bytes(), None).await
            }
            Verdict::Probe(response) => {
                transport.write_all(&response).await?;
                // However the peer ends, it was answered.
                let _ = linger(&mut transport, None).await;
                Ok(Outcome::Served)
            }
            Verdict::Admit(granted) => Ok(finish(shard, transport, *granted, Found { accepted, load })),
            Verdict::Refuse(refusal) => refuse(&mut transport, refusal.response().as_bytes(), seat).await,
            Verdict::Answer(response) => refuse(&mut transport, &response, seat).await,
            Verdict::Deny(response, failure) => deny(&mut transport, response, failure, seat).await,
            Verdict::Park(_) => Ok(Outcome::Refused),
        }
    };
    tokio::select! {
        biased;
        () = permit.evicted() => Err(io::ErrorKind::ConnectionAborted.into()),
        ended = admit => ended,
    }
}

/// Whether a socket from this address begins with the header of the PROXY protocol.
fn begins_with_header(shared: &Shared, address: IpAddr) -> bool {
    shared.config.trusted_proxies.as_ref().is_some_and(|proxies| proxies.begin_with_header(address))
}

/// Whom a proxy says a socket is from; `None`: from itself.
async fn proxied_address(shared: &Shared, stream: &mut Stream) -> io::Result<Option<IpAddr>> {
    let named = timeout(PROXY_TIMEOUT, read_proxied(stream)).await?;
    if matches!(&named, Err(error) if error.kind() == io::ErrorKind::InvalidData) {
        bump(&shared.counters.proxy_errors);
    }
    named
}

/// As the listener does where an address has no place left: TLS peers just see the connection end.
async fn turn_away(shared: &Shared, stream: Stream) -> io::Result<Outcome> {
    if shared.config.tls.is_some() {
        return Ok(Outcome::Refused);
    }
    refuse(&mut Transport::from(stream), Refusal::Unavailable.response().as_bytes(), None).await
}

/// The way to the peer: the socket, or TLS over it, which of a socket that was handed over is somebody else's.
async fn connect(
    shared: &Arc<Shared>,
    shard: &SharedShard,
    mut stream: Stream,
    handed: Option<Handed>,
) -> io::Result<Transport> {
    Ok(match (&shared.config.tls, handed) {
        (_, Some(handed)) => {
            if let Some(key) = handed.key {
                stream.connected().await?;
                stream.write_all(&key).await?;
            }
            Transport::from(stream)
        }
        (Some(tls), None) => {
            let turns = &shared.shards[shard.borrow().index()].turns;
            Transport::from(timeout(TLS_TIMEOUT, secure(tls, turns, stream)).await??)
        }
        (None, None) => Transport::from(stream),
    })
}

/// Makes an admitted socket a connection of the shard.
fn finish(shard: &SharedShard, transport: Transport, granted: Granted, found: Found) -> Outcome {
    let Granted { early, response, identity, path, address, secure, cookies, speech, subprotocol, place, data, topics } =
        granted;
    let Identity { name, acl, expires, credential } = identity;
    let adopted = shard.borrow_mut().adopt(Admitted {
        transport,
        early,
        response,
        origin: Origin { path, address, secure, user: name, subprotocol, data, credential },
        cookies,
        acl,
        topics,
        expires,
        speech,
        accepted: found.accepted,
        places: [place, found.load],
    });
    match adopted {
        // It may have failed while being greeted.
        Ok(_) | Err(NotAdopted::Removed) => Outcome::Adopted,
        Err(NotAdopted::NoSlot) => Outcome::Refused,
    }
}

/// The TLS handshake. A signature keeps the thread busy for up to milliseconds (RSA), so a flood of them takes turns with
/// everybody else.
async fn secure(tls: &ReloadableTls, turns: &Turns, stream: Stream) -> io::Result<TlsStream<Stream>> {
    // Who says nothing needs no turn.
    stream.readable().await;
    in_turns(turns, tls.accept(stream)).await
}

/// Sends a response that ends the handshake. `seat`: the one it has waited on, which is free once it is told.
async fn refuse(transport: &mut Transport, response: &[u8], seat: Option<Seat>) -> io::Result<Outcome> {
    transport.write_all(response).await?;
    linger(transport, seat).await
}

/// Published clients expect the upgrade to succeed first (docs/protocol.md §2): 101, a TEXT error, Close 4401.
async fn deny(
    transport: &mut Transport,
    response: Vec<u8>,
    failure: AuthFailure,
    seat: Option<Seat>,
) -> io::Result<Outcome> {
    let mut answer = response;
    push_frame(&mut answer, Opcode::Text, auth_error(failure, unix_millis()).as_bytes());
    push_close(&mut answer, CloseCode::UNAUTHORIZED, "Authentication failed");
    refuse(transport, &answer, seat).await
}

/// Ends the sending side and waits for the peer's end, so that what was sent is not lost to a reset. The handshake's time
/// limit and [`LINGER_BYTES`] bound it.
async fn linger(transport: &mut Transport, seat: Option<Seat>) -> io::Result<Outcome> {
    transport.flush().await?;
    transport.shutdown().await?;
    drop(seat);
    let mut sink = [0; 1024];
    let mut seen = 0;
    while seen <= LINGER_BYTES {
        match transport.read(&mut sink).await? {
            0 => break,
            count => seen += count,
        }
    }
    Ok(Outcome::Refused)
}
