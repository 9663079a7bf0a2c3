//! A handshake that waits for what the host says of it: bounded in number and time, and no longer than its peer is there. Ends
//! with a verdict.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use wse_protocol::envelope::AuthFailure;

use super::ask;
use super::host::is_loopback_host;
use super::http::Refusal;
use super::judge::{Parked, Verdict, admit, denied, verify_with};
use crate::admission::Standing;
use crate::asking::{Found, Ruling, Seat, Terms};
use crate::conn::Transport;
use crate::metrics::bump;
use crate::shared::Shared;

/// Bytes a client may send before it is answered, which it should not (RFC 6455 §4.1). What is beyond stays in its socket.
const EARLY_BYTES: usize = 16 * 1024;

/// Asks the host, and waits. Returns what is to be done, and the seat of the waiting one, which is to be kept until its peer
/// has been told.
///
/// # Errors
/// The peer is gone, or its place is.
pub(super) async fn park(
    shared: &Shared,
    standing: &Standing,
    transport: &mut Transport,
    mut parked: Parked,
) -> io::Result<(Verdict, Option<Seat>)> {
    let Some(seat) = shared.asking.park(whose(shared, parked.address)) else {
        bump(&shared.counters.waiting_refused);
        return Ok((Verdict::Refuse(Refusal::Unavailable), None));
    };
    if !standing.hold() {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let mut early = std::mem::take(&mut parked.early);
    let mut verdict = tokio::select! {
        biased;
        verdict = settle(shared, parked) => verdict,
        error = watch(transport, &mut early) => return Err(error),
    };
    if let Verdict::Admit(granted) = &mut verdict {
        granted.early = early;
    }
    standing.release();
    Ok((verdict, Some(seat)))
}

/// Whose handshake it is, `None`: of one who stands for many. A proxy that is trusted does, where it names nobody; and an address
/// of this machine where nobody else can ask: most often a proxy.
fn whose(shared: &Shared, address: IpAddr) -> Option<IpAddr> {
    let config = &shared.config;
    let is_proxy = config.trusted_proxies.as_ref().is_some_and(|proxies| proxies.contain(address));
    let is_only_one = address.to_canonical().is_loopback() && is_loopback_host(config.host.as_bytes());
    (!is_proxy && !is_only_one).then_some(address)
}

/// Asks what is to be asked: first for the key of its token, then what the host says of it.
async fn settle(shared: &Shared, mut parked: Parked) -> Verdict {
    let config = &shared.config;
    if let (Some(kid), Some(auth)) = (parked.kid.take(), &config.auth) {
        let verified = match shared.asking.key(&kid).await {
            None => return unanswered(shared),
            Some(Found::Key(key)) => verify_with(shared, auth, &parked.upgrade, &key),
            Some(Found::Unknown) => Err(AuthFailure::BadToken),
            Some(Found::Unsaid | Found::Asked(..)) => return Verdict::Refuse(Refusal::Unavailable),
        };
        match verified {
            Ok(user) => parked.user = Some(user),
            Err(failure) => return denied(shared, &parked, failure),
        }
    }
    if !config.ask_upgrade {
        return agree(shared, parked, Terms::default());
    }
    let mut question = shared.asking.ask(&ask::about(&parked, config.auth.as_ref()));
    match timeout(config.answer_timeout, question.answered()).await {
        Err(_) => unanswered(shared),
        Ok(Ruling::Closed) => Verdict::Refuse(Refusal::Unavailable),
        Ok(Ruling::Failed) => failed(shared),
        Ok(Ruling::Refuse(response)) => Verdict::Answer(response),
        Ok(Ruling::Admit(terms)) => agree(shared, parked, *terms),
    }
}

fn unanswered(shared: &Shared) -> Verdict {
    bump(&shared.counters.unanswered);
    Verdict::Refuse(Refusal::Unavailable)
}

fn agree(shared: &Shared, parked: Parked, terms: Terms) -> Verdict {
    if shared.draining.load(Relaxed) {
        return Verdict::Refuse(Refusal::Unavailable);
    }
    // A client ends a connection with a subprotocol it has not offered (RFC 6455 §4.1).
    let offers = |name: &Arc<str>| ask::offered(&parked.upgrade, shared.config.auth.as_ref()).any(|one| one == **name);
    if terms.protocol.as_ref().is_some_and(|name| !offers(name)) {
        return failed(shared);
    }
    admit(shared, parked, terms)
}

fn failed(shared: &Shared) -> Verdict {
    bump(&shared.counters.misjudged);
    Verdict::Refuse(Refusal::Failed)
}

/// Reads what the peer sends too early, until it is gone.
async fn watch(transport: &mut Transport, early: &mut Vec<u8>) -> io::Error {
    let mut bytes = [0; 1024];
    while early.len() < EARLY_BYTES {
        match transport.read(&mut bytes).await {
            // One that has ended its side can say nothing any more, not even the Close it would owe.
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(count) => early.extend_from_slice(&bytes[..count]),
            Err(error) => return error,
        }
    }
    std::future::pending().await
}
