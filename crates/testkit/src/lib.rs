//! What the Rust tests share: a raw WebSocket peer, a reference peer (tokio-tungstenite), certificates, tokens, an engine with test values, and a reader of its
//! events. Dev only: nothing that ships depends on it, and nothing here imitates the engine.

mod certificate;
mod events;
mod host;
mod peer;
mod recovery;
mod reference;
mod request;
mod server;
mod token;
mod wait;

pub use certificate::Certificate;
pub use events::{Event, Events, decode_batch};
pub use host::Host;
pub use peer::{Frame, Peer, PeerError};
pub use recovery::recovery;
pub use reference::ReferencePeer;
pub use request::{Request, Response};
pub use server::{Server, config, is_inline, shard_thread};
pub use token::{SECRET, auth, token};
pub use wait::{DEADLINE, wait_until};
