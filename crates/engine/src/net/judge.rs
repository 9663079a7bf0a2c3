//! What becomes of a request: refused, let in, or something is to be asked first. Reads no socket and waits for nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wse_crypto::jwt::JwtKey;
use wse_crypto::token::{Carrier, extract_token};
use wse_protocol::envelope::AuthFailure;
use wse_protocol::topic::Acl;

use super::arrival::NOWHERE;
use super::door::Errand;
use super::host::is_loopback_host;
use super::http::{self, Refusal, Request, Upgrade};
use super::probe::answer;
use crate::admission::Place;
use crate::asking::{Kid, Terms};
use crate::config::{Auth, ForwardedField};
use crate::mailbox::Incoming;
use crate::metrics::bump;
use crate::outlet::Source;
use crate::registry::Speech;
use crate::shared::{Distrust, Proof, Shared, User};
use crate::tokens::Credential;

/// Who asks, as far as the socket says it.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) address: IpAddr,
    /// Only who asks for this machine by a name of its own is answered.
    loopback: bool,
    /// TLS is spoken.
    secure: bool,
}

impl Asker {
    pub(super) fn of(shared: &Shared, incoming: &Incoming) -> Self {
        let secure = incoming.handed.as_ref().map_or(shared.config.tls.is_some(), |handed| handed.secure);
        Self { address: incoming.address, loopback: incoming.loopback, secure }
    }

    /// The same for later requests of the connection, which are the host's to read.
    pub(super) fn source(self, shared: &Shared) -> Source {
        let is_nowhere = shared.config.unix.is_some() && self.address == NOWHERE;
        Source { address: (!is_nowhere).then_some(self.address), loopback: self.loopback }
    }
}

/// Who a connection is, and what it may.
#[derive(Default)]
pub(super) struct Identity {
    pub(super) name: Option<String>,
    pub(super) acl: Option<Arc<Acl>>,
    pub(super) expires: u64,
    /// What is kept of its token.
    pub(super) credential: Option<Box<Credential>>,
}

/// The answer to a request.
pub(super) enum Verdict {
    Admit(Box<Granted>),
    Refuse(Refusal),
    /// A response of the host's.
    Answer(Vec<u8>),
    /// A question the engine answers itself, with this response.
    Probe(Vec<u8>),
    /// It is the host's.
    HandOver,
    /// No valid token, where the upgrade succeeds first; with the 101.
    Deny(Vec<u8>, AuthFailure),
    /// The host is to be asked.
    Park(Box<Parked>),
}

/// A request that nothing speaks against, and what is to be asked about it.
pub(super) struct Parked {
    pub(super) upgrade: Upgrade,
    /// What has come behind its head.
    pub(super) early: Vec<u8>,
    /// The client's, behind a proxy that is trusted too.
    pub(super) address: IpAddr,
    /// TLS is spoken.
    pub(super) secure: bool,
    pub(super) speech: Speech,
    pub(super) subprotocol: Option<Arc<str>>,
    /// Whom its token names.
    pub(super) user: Option<Box<User>>,
    /// The key its token names, which nobody knows yet.
    pub(super) kid: Option<Kid>,
}

/// What a connection that is admitted begins with.
pub(super) struct Granted {
    pub(super) early: Vec<u8>,
    pub(super) response: Vec<u8>,
    pub(super) identity: Identity,
    pub(super) path: String,
    /// The client's, behind a proxy that is trusted too.
    pub(super) address: IpAddr,
    /// TLS is spoken.
    pub(super) secure: bool,
    pub(super) cookies: Vec<u8>,
    pub(super) speech: Speech,
    pub(super) subprotocol: Option<Arc<str>>,
    /// Its place among the engine's connections.
    pub(super) place: Place,
    /// JSON text the host keeps with it.
    pub(super) data: Option<Box<str>>,
    /// What it is subscribed to from the beginning.
    pub(super) topics: Vec<String>,
}

/// The answer to what a first request is.
pub(super) fn decide(shared: &Shared, errand: Errand, asker: Asker) -> Verdict {
    match errand {
        Errand::Upgrade(request) => judge(shared, request, asker),
        Errand::Question(question) => Verdict::Probe(answer(shared, &question, asker.address, asker.loopback)),
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
            // It has been said before, and is the client's already.
            ForwardedField::ProxyProtocol => return address,
        };
        proxies.client(address, said)
    });
    let mut parked = Parked { upgrade, early, address, secure, speech, subprotocol, user: None, kid: None };
    if let Some(auth) = &shared.config.auth {
        match authenticate(shared, auth, &parked.upgrade) {
            Proof::User(user) => parked.user = Some(user),
            Proof::None(distrust) => return denied(shared, &parked, distrust.into()),
            Proof::Unsaid => return Verdict::Refuse(Refusal::Unavailable),
            Proof::Missing(kid) => parked.kid = Some(kid),
        }
    }
    if parked.kid.is_none() && !shared.config.ask_upgrade {
        return admit(shared, parked, Terms::default());
    }
    // Nobody is asked about whom there is no room for.
    if shared.is_full() {
        bump(&shared.counters.full_connections);
        return Verdict::Refuse(Refusal::Unavailable);
    }
    Verdict::Park(Box::new(parked))
}

/// What a client without a valid token gets.
pub(super) fn denied(shared: &Shared, parked: &Parked, failure: AuthFailure) -> Verdict {
    bump(&shared.counters.auth_failures);
    if parked.speech == Speech::Raw {
        return Verdict::Refuse(Refusal::Unauthorized);
    }
    Verdict::Deny(http::accepted(&parked.upgrade.accept, parked.subprotocol.as_deref()).into_bytes(), failure)
}

/// Lets it in on these terms, if there is room.
pub(super) fn admit(shared: &Shared, parked: Parked, terms: Terms) -> Verdict {
    let Parked { upgrade, early, address, secure, speech, subprotocol, user, .. } = parked;
    let Terms { user: name, data, protocol, acl, topics } = terms;
    let subprotocol = protocol.or(subprotocol);
    let Some(place) = shared.enter() else {
        bump(&shared.counters.full_connections);
        return Verdict::Refuse(Refusal::Unavailable);
    };
    let response = http::accepted(&upgrade.accept, subprotocol.as_deref()).into_bytes();
    let mut identity = user.map_or_else(Identity::default, |user| Identity {
        credential: Some(Box::new(Credential::new(&user.claims, name.as_deref(), acl.is_some()))),
        name: Some(user.claims.sub),
        acl: user.acl,
        expires: user.expires,
    });
    identity.name = name.or(identity.name);
    identity.acl = acl.unwrap_or(identity.acl);
    let Upgrade { path, cookies, .. } = upgrade;
    Verdict::Admit(Box::new(Granted {
        early,
        response,
        identity,
        path,
        address,
        secure,
        cookies,
        speech,
        subprotocol,
        place,
        data,
        topics,
    }))
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

fn authenticate(shared: &Shared, auth: &Auth, upgrade: &Upgrade) -> Proof {
    let Some(token) = token(auth, upgrade) else { return Proof::None(Distrust::Failure(AuthFailure::NoToken)) };
    shared.prove(auth, token, |kid| shared.asking.known_key(kid))
}

/// The user a request's token names, if it is signed with this key.
pub(super) fn verify_with(
    shared: &Shared,
    auth: &Auth,
    upgrade: &Upgrade,
    key: &JwtKey,
) -> Result<Box<User>, AuthFailure> {
    let token = token(auth, upgrade).ok_or(AuthFailure::NoToken)?;
    Ok(Box::new(shared.prove_with(auth, token, key)?))
}

fn token<'a>(auth: &Auth, upgrade: &'a Upgrade) -> Option<&'a str> {
    let carrier = Carrier {
        cookies: &upgrade.cookies,
        authorization: upgrade.authorization.as_deref(),
        query: upgrade.query.as_bytes(),
        subprotocols: &upgrade.protocols,
    };
    extract_token(carrier, &auth.sources)
}
