//! One socket's way into a shard: TLS, the request, the refusals, the token, the 101. A request that is there whole is answered
//! at once; every other handshake runs as a task of the shard, bounded in time and bytes. Ends when the connection is adopted or
//! refused.

use std::future::poll_fn;
use std::io::{self, Read};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use wse_crypto::jwt::{JwtError, TopicGrant};
use wse_crypto::tls::{ReloadableTls, TlsStream};
use wse_crypto::token::{Carrier, extract_token};
use wse_protocol::close_code::CloseCode;
use wse_protocol::envelope::{AuthFailure, auth_error};
use wse_protocol::frame::{Opcode, push_close, push_frame};
use wse_protocol::topic::Acl;

use super::arrival::untuned;
use super::door::{Door, Errand, look, must_wait};
use super::host::is_loopback_host;
use super::http::{self, Refusal, Request, Upgrade, read_until};
use super::probe::answer;
use super::turns::in_turns;
use crate::admission::Place;
use crate::clock::unix_millis;
use crate::config::{Auth, ForwardedField};
use crate::conn::{Stream, Transport};
use crate::mailbox::{Handed, Incoming};
use crate::metrics::bump;
use crate::registry::{Origin, Speech};
use crate::shard::{Admitted, NotAdopted, SharedShard};
use crate::shared::Shared;

/// Time a TLS handshake may take, whatever the whole upgrade may.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request that is looked at without waiting: most fit.
const READ_NOW: usize = 2048;
/// Pause between looks at a host that reads no events.
const WAIT_FOR_HOST: Duration = Duration::from_millis(20);
/// Bytes a refused peer may still send before the socket is dropped.
const LINGER_BYTES: usize = 64 * 1024;

/// A verified user.
struct User {
    name: String,
    acl: Option<Arc<Acl>>,
    expires: u64,
}

/// What the listener knows of a socket.
struct Found {
    accepted: Instant,
    /// Its place in the shard's load.
    load: Place,
}

/// Who asks, as far as the socket says it.
#[derive(Clone, Copy)]
struct Asker {
    address: IpAddr,
    /// Only who asks for this machine by a name of its own is answered.
    loopback: bool,
    /// TLS is spoken.
    secure: bool,
}

impl Asker {
    fn of(shared: &Shared, incoming: &Incoming) -> Self {
        let secure = incoming.handed.as_ref().map_or(shared.config.tls.is_some(), |handed| handed.secure);
        Self { address: incoming.address, loopback: incoming.loopback, secure }
    }
}

/// The answer to a request.
enum Verdict {
    Admit(Box<Granted>),
    Refuse(Refusal),
    /// No valid token, where the upgrade succeeds first; with the 101.
    Deny(Vec<u8>, AuthFailure),
    /// A question the engine answers itself, with this response.
    Answer(Vec<u8>),
    /// The host's.
    HandOver,
}

/// What a connection that is admitted begins with.
struct Granted {
    early: Vec<u8>,
    response: Vec<u8>,
    user: Option<User>,
    path: String,
    /// The client's, behind a proxy that is trusted too.
    address: IpAddr,
    /// TLS is spoken.
    secure: bool,
    cookies: Vec<u8>,
    speech: Speech,
    subprotocol: Option<Arc<str>>,
    /// Its place among the engine's connections.
    place: Place,
}

/// Serves the handshake of one socket: `at_once` if its request is there, else as a task of the shard.
pub(crate) fn begin(shared: Arc<Shared>, shard: SharedShard, incoming: Incoming, at_once: bool) {
    // Only what has no TLS in between, and nothing to say first, can be looked at without waiting.
    let waits = match &incoming.handed {
        None => shared.config.tls.is_some(),
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
    let errand = look(&mut Door::at(shared, &incoming), seen, 0).filter(|errand| !must_wait(shared, errand));
    let verdict = errand.map(|errand| decide(shared, errand, Asker::of(shared, &incoming)));
    if read > 0 && matches!(verdict, None | Some(Verdict::HandOver)) {
        incoming.early = bytes[..read].to_vec();
    }
    match verdict {
        None => Some((incoming, None)),
        Some(Verdict::HandOver) => match shared.hand_over(untuned(incoming.stream), incoming.early) {
            Ok(()) => None,
            Err(stream) => {
                let back = Incoming { stream, early: Vec::new(), ..incoming };
                Some((back, Some(Verdict::Refuse(Refusal::Unavailable))))
            }
        },
        Some(Verdict::Admit(granted)) => {
            let Incoming { stream, accepted, permit: _permit, load, .. } = incoming;
            let stream = Stream::register(stream, shard.borrow().reactor());
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
    let (asker, mut door) = (Asker::of(shared, &incoming), Door::at(shared, &incoming));
    let Incoming { stream, accepted, early: mut head, handed, mut permit, load, .. } = incoming;
    let admit = async {
        let mut transport = connect(shared, shard, stream, handed).await?;
        let verdict = match verdict {
            Some(verdict) => verdict,
            None => {
                let errand =
                    read_until(&mut transport, &mut head, |bytes, known| look(&mut door, bytes, known)).await?;
                while must_wait(shared, &errand) {
                    sleep(WAIT_FOR_HOST).await;
                }
                decide(shared, errand, asker)
            }
        };
        match verdict {
            Verdict::HandOver if shared.outlet.has_room() => {
                shared
                    .hand_over(untuned(transport.into_socket()?), head)
                    .map_err(|_| io::ErrorKind::ConnectionAborted)?;
                Ok(Outcome::Served)
            }
            Verdict::HandOver => {
                bump(&shared.counters.handed_refused);
                refuse(&mut transport, Refusal::Unavailable).await
            }
            Verdict::Answer(response) => {
                transport.write_all(&response).await?;
                // However the peer ends, it was answered.
                let _ = linger(&mut transport).await;
                Ok(Outcome::Served)
            }
            Verdict::Admit(granted) => Ok(finish(shard, transport, *granted, Found { accepted, load })),
            Verdict::Refuse(refusal) => refuse(&mut transport, refusal).await,
            Verdict::Deny(response, failure) => deny(&mut transport, response, failure).await,
        }
    };
    tokio::select! {
        biased;
        () = permit.evicted() => Err(io::ErrorKind::ConnectionAborted.into()),
        ended = admit => ended,
    }
}

/// The way to the peer: the socket, or TLS over it, which of a socket that was handed over is somebody else's.
async fn connect(
    shared: &Arc<Shared>,
    shard: &SharedShard,
    stream: std::net::TcpStream,
    handed: Option<Handed>,
) -> io::Result<Transport> {
    // None of them blocks.
    let mut stream = Stream::register(stream, shard.borrow().reactor())?;
    Ok(match (&shared.config.tls, handed) {
        (_, Some(handed)) => {
            if let Some(key) = handed.key {
                stream.connected().await?;
                stream.write_all(&key).await?;
            }
            Transport::from(stream)
        }
        (Some(tls), None) => {
            let turns = &shared.shards[shard.borrow().index()].tls_turns;
            Transport::from(timeout(TLS_TIMEOUT, secure(tls, turns, stream)).await??)
        }
        (None, None) => Transport::from(stream),
    })
}

/// The answer to what a first request is.
fn decide(shared: &Shared, errand: Errand, asker: Asker) -> Verdict {
    match errand {
        Errand::Upgrade(request) => judge(shared, request, asker),
        Errand::Question(question) => Verdict::Answer(answer(shared, &question, asker.address, asker.loopback)),
        Errand::Host => Verdict::HandOver,
    }
}

/// Decides about an upgrade. One that is admitted has its place among the engine's connections.
fn judge(shared: &Shared, request: Request, asker: Asker) -> Verdict {
    let Asker { address, loopback, secure } = asker;
    let (upgrade, early) = match request {
        Ok(read) => read,
        Err(refusal) => return Verdict::Refuse(refusal),
    };
    let (speech, subprotocol) = match check(shared, &upgrade, loopback) {
        Ok(agreed) => agreed,
        Err(refusal) => return Verdict::Refuse(refusal),
    };
    let address = shared.config.trusted_proxies.as_ref().map_or(address, |proxies| {
        let said = match proxies.field {
            ForwardedField::XForwardedFor => &upgrade.x_forwarded_for,
            ForwardedField::Forwarded => &upgrade.forwarded,
        };
        proxies.client(address, said)
    });
    let response = http::accepted(&upgrade.accept, subprotocol.as_deref()).into_bytes();
    let user = match &shared.config.auth {
        None => None,
        Some(auth) => match authenticate(auth, &upgrade) {
            Ok(user) => Some(user),
            Err(failure) => {
                bump(&shared.counters.auth_failures);
                if speech == Speech::Raw {
                    return Verdict::Refuse(Refusal::Unauthorized);
                }
                return Verdict::Deny(response, failure);
            }
        },
    };
    match shared.enter() {
        Some(place) => {
            let Upgrade { path, cookies, .. } = upgrade;
            Verdict::Admit(Box::new(Granted {
                early,
                response,
                user,
                path,
                address,
                secure,
                cookies,
                speech,
                subprotocol,
                place,
            }))
        }
        None => {
            bump(&shared.counters.full_connections);
            Verdict::Refuse(Refusal::Unavailable)
        }
    }
}

/// Makes an admitted socket a connection of the shard.
fn finish(shard: &SharedShard, transport: Transport, granted: Granted, found: Found) -> Outcome {
    let Granted { early, response, user, path, address, secure, cookies, speech, subprotocol, place } = granted;
    let (name, acl, expires) = user.map_or((None, None, 0), |user| (Some(user.name), user.acl, user.expires));
    let adopted = shard.borrow_mut().adopt(Admitted {
        transport,
        early,
        response,
        origin: Origin { path, address, secure, user: name, subprotocol },
        cookies,
        acl,
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
async fn secure(tls: &ReloadableTls, turns: &Semaphore, stream: Stream) -> io::Result<TlsStream<Stream>> {
    // Who says nothing needs no turn.
    stream.readable().await?;
    in_turns(turns, tls.accept(stream)).await
}

/// What a well-formed upgrade asks to speak, or what is wrong with it.
fn check(shared: &Shared, upgrade: &Upgrade, loopback: bool) -> Result<(Speech, Option<Arc<str>>), Refusal> {
    let config = &shared.config;
    if shared.draining.load(Relaxed) {
        return Err(Refusal::Unavailable);
    }
    let endpoint = config.endpoints.iter().find(|endpoint| endpoint.serves(&upgrade.path)).ok_or(Refusal::NotFound)?;
    if let (Some(allowed), Some(origin)) = (&config.allowed_origins, &upgrade.origin)
        && !allowed.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin))
    {
        return Err(Refusal::Forbidden);
    }
    // A page whose name was made to resolve to this machine (DNS rebinding) sends its own name. Who names origins has
    // answered the question which pages may come.
    if loopback && config.allowed_origins.is_none() && !is_loopback_host(&upgrade.host) {
        return Err(Refusal::ForeignHost);
    }
    let subprotocol = endpoint.choose(&upgrade.protocols);
    if subprotocol.is_none() && endpoint.require_protocol {
        return Err(Refusal::NoSubprotocol);
    }
    let speech = match (endpoint.raw, upgrade.msgpack) {
        (true, _) => Speech::Raw,
        (false, true) => Speech::Msgpack,
        (false, false) => Speech::Json,
    };
    Ok((speech, subprotocol))
}

fn authenticate(auth: &Auth, upgrade: &Upgrade) -> Result<User, AuthFailure> {
    let carrier = Carrier {
        cookies: &upgrade.cookies,
        authorization: upgrade.authorization.as_deref(),
        query: upgrade.query.as_bytes(),
        subprotocols: &upgrade.protocols,
    };
    let token = extract_token(carrier, &auth.sources);
    let token = token.ok_or(AuthFailure::NoToken)?;
    let claims = auth.verifier.verify(token, unix_millis() / 1000).map_err(|error| match error {
        JwtError::MissingSubject => AuthFailure::NoSubject,
        JwtError::Invalid(_) => AuthFailure::BadToken,
    })?;
    let acl = match &claims.topics {
        None => None,
        Some(TopicGrant { allow, deny }) => Some(Arc::new(Acl::new(allow, deny).map_err(|_| AuthFailure::BadToken)?)),
    };
    let expires = if auth.close_on_expiry { claims.exp.saturating_add(auth.leeway_secs) } else { 0 };
    Ok(User { name: claims.sub, acl, expires })
}

async fn refuse(transport: &mut Transport, refusal: Refusal) -> io::Result<Outcome> {
    transport.write_all(refusal.response().as_bytes()).await?;
    linger(transport).await
}

/// Published clients expect the upgrade to succeed first (docs/protocol.md §2): 101, a TEXT error, Close 4401.
async fn deny(transport: &mut Transport, response: Vec<u8>, failure: AuthFailure) -> io::Result<Outcome> {
    let mut answer = response;
    push_frame(&mut answer, Opcode::Text, auth_error(failure, unix_millis()).as_bytes());
    push_close(&mut answer, CloseCode::UNAUTHORIZED, "Authentication failed");
    transport.write_all(&answer).await?;
    linger(transport).await
}

/// Ends the sending side and waits for the peer's end, so that what was sent is not lost to a reset. The handshake's time
/// limit and [`LINGER_BYTES`] bound it.
async fn linger(transport: &mut Transport) -> io::Result<Outcome> {
    transport.flush().await?;
    transport.shutdown().await?;
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
