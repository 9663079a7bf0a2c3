//! One socket's way into a shard: TLS, the request, the refusals, the token, the 101. Runs as a task of the shard, bounded in
//! time and bytes; ends when the connection is adopted or refused.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;
use wse_crypto::jwt::{JwtError, TopicGrant};
use wse_crypto::tls::{ReloadableTls, TlsStream};
use wse_crypto::token::{Carrier, extract_token};
use wse_protocol::close_code::CloseCode;
use wse_protocol::envelope::{AuthFailure, auth_error};
use wse_protocol::frame::{Opcode, push_close, push_frame};
use wse_protocol::topic::Acl;

use super::host::is_loopback_host;
use super::http::{self, Refusal, Upgrade};
use super::turns::in_turns;
use crate::admission::Place;
use crate::clock::unix_millis;
use crate::config::{Auth, ForwardedField};
use crate::conn::Transport;
use crate::mailbox::Incoming;
use crate::metrics::bump;
use crate::registry::{Origin, Speech};
use crate::shard::{Admitted, NotAdopted, SharedShard};
use crate::shared::Shared;

/// Time a TLS handshake may take, whatever the whole upgrade may.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
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
    address: IpAddr,
    /// The server is bound to a loopback address.
    loopback: bool,
    /// Its place in the shard's load.
    load: Place,
}

/// Serves the handshake of one socket, as a task of the shard.
pub(crate) fn spawn(shared: Arc<Shared>, shard: SharedShard, incoming: Incoming) {
    spawn_local(serve(shared, shard, incoming));
}

/// What a handshake ended with.
enum Outcome {
    /// The socket is a connection, or was one.
    Adopted,
    /// It was refused; the peer has been told, if there was a way to.
    Refused,
}

async fn serve(shared: Arc<Shared>, shard: SharedShard, incoming: Incoming) {
    let index = shard.borrow().index();
    let mut attempt = pin!(timeout(shared.config.handshake_timeout, attempt(&shared, &shard, incoming)));
    let poll = |cx: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    };
    match poll_fn(poll).await {
        Some(Ok(Ok(Outcome::Adopted))) => return,
        // Refused, failed, too slow, or one too many: the socket is dropped, and its places come back with it.
        Some(Ok(Ok(Outcome::Refused) | Err(_)) | Err(_)) => {}
        None => shared.shards[index].counters.panics.add(1),
    }
    bump(&shared.counters.rejected);
}

/// A handshake until it ends, or until a newer one needs its place.
async fn attempt(shared: &Arc<Shared>, shard: &SharedShard, incoming: Incoming) -> io::Result<Outcome> {
    let Incoming { stream, accepted, address, loopback, mut permit, load } = incoming;
    let found = Found { accepted, address, loopback, load };
    tokio::select! {
        biased;
        () = permit.evicted() => Err(io::ErrorKind::ConnectionAborted.into()),
        ended = admit(shared, shard, stream, found) => ended,
    }
}

async fn admit(
    shared: &Arc<Shared>,
    shard: &SharedShard,
    stream: std::net::TcpStream,
    found: Found,
) -> io::Result<Outcome> {
    // The listener accepts sockets that do not block.
    let stream = TcpStream::from_std(stream)?;
    let mut transport = match &shared.config.tls {
        Some(tls) => {
            let turns = &shared.shards[shard.borrow().index()].tls_turns;
            Transport::Tls(Box::new(timeout(TLS_TIMEOUT, secure(tls, turns, stream)).await??))
        }
        None => Transport::Plain(stream),
    };
    let (upgrade, early) = match http::read_upgrade(&mut transport).await? {
        Ok(read) => read,
        Err(refusal) => return refuse(&mut transport, refusal).await,
    };
    let (speech, subprotocol) = match check(shared, &upgrade, found.loopback) {
        Ok(agreed) => agreed,
        Err(refusal) => return refuse(&mut transport, refusal).await,
    };
    let address = shared.config.trusted_proxies.as_ref().map_or(found.address, |proxies| {
        let said = match proxies.field {
            ForwardedField::XForwardedFor => &upgrade.x_forwarded_for,
            ForwardedField::Forwarded => &upgrade.forwarded,
        };
        proxies.client(found.address, said)
    });
    let response = http::accepted(&upgrade.accept, subprotocol.as_deref()).into_bytes();
    let user = match &shared.config.auth {
        None => None,
        Some(auth) => match authenticate(auth, &upgrade) {
            Ok(user) => Some(user),
            Err(failure) => {
                bump(&shared.counters.auth_failures);
                if speech == Speech::Raw {
                    return refuse(&mut transport, Refusal::Unauthorized).await;
                }
                return deny(&mut transport, response, failure).await;
            }
        },
    };
    let Some(place) = shared.enter() else {
        return refuse(&mut transport, Refusal::Unavailable).await;
    };
    let (name, acl, expires) = user.map_or((None, None, 0), |user| (Some(user.name), user.acl, user.expires));
    let admitted = Admitted {
        transport,
        early,
        response,
        origin: Origin { path: upgrade.path, address, user: name, subprotocol },
        cookies: upgrade.cookies,
        acl,
        expires,
        speech,
        accepted: found.accepted,
        places: [place, found.load],
    };
    let adopted = shard.borrow_mut().adopt(admitted);
    match adopted {
        // It may have failed while being greeted.
        Ok(_) | Err(NotAdopted::Removed) => Ok(Outcome::Adopted),
        Err(NotAdopted::NoSlot) => Ok(Outcome::Refused),
    }
}

/// The TLS handshake. A signature keeps the thread busy for up to milliseconds (RSA), so a flood of them takes turns with
/// everybody else.
async fn secure(tls: &ReloadableTls, turns: &Semaphore, stream: TcpStream) -> io::Result<TlsStream> {
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
