//! Connections as unit tests make them, and what time does to one.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use wse_protocol::close_code::CloseCode;

use super::{Connection, Context, Opening, Transport};
use crate::config::Config;
use crate::config::tests::config;
use crate::id::ConnId;
use crate::reactor::Reactor;
use crate::registry::{Peer, Speech};
use crate::shared::Shared;
use crate::slab::Slab;

/// Opens a connection whose peer is gone already; returns its slot.
pub(crate) fn open(connections: &mut Slab<Connection>, context: &Context, stream: u16) -> u32 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let transport: Transport = Reactor::new(mio::Poll::new().unwrap()).unwrap().adopt(socket).unwrap().into();
    let (shared, now) = (&context.shared, context.now());
    let opened = connections.insert(|slot, generation| {
        let id = ConnId::new(0, slot, generation);
        let peer = Arc::new(Peer::new(id, Uuid::nil(), Speech::Json, None, &Arc::default()));
        let (early, greeting) = (Vec::new(), Vec::new());
        Connection::open(Opening { peer, transport, early, greeting, stream, expires: 0 }, &shared.config, now)
    });
    opened.unwrap()
}

#[test]
fn a_close_handshake_is_looked_at_within_a_minute_however_long_it_may_take() {
    for (seconds, most) in [(5, 5), (600, 60)] {
        let shared = Arc::new(Shared::new(Config { close_timeout: Duration::from_secs(seconds), ..config() }));
        let mut context = Context::new(Arc::clone(&shared), 0);
        let stream = context.join_stream();
        let mut connections = Slab::default();
        let slot = open(&mut connections, &context, stream);
        let connection = connections.get_mut(slot).unwrap();
        connection.close_after(CloseCode::RECONNECT, "", &mut context);
        let next = connection.next_timer(&shared.config, context.now());
        assert_eq!(next.since(connection.close.began), most * 1000, "{seconds} s");
    }
}
