//! The JSON envelope: its categories, and every message the engine itself composes.
//!
//! Never reads a clock and never makes an id: times are epoch milliseconds passed in, ids are passed in as text.

mod category;
mod control;
mod event;
mod inject;
mod messages;
mod outbox;
mod presence;
mod stamp;
mod time;
mod token;

pub use category::Category;
pub use control::Control;
pub use event::{EventDefaults, build_event};
pub use inject::{Injection, find_injection, inject_category};
pub use messages::{
    AuthFailure, RATE_LIMITED, RateLimitWarning, SERVER_VERSION, ServerHello, ServerReady, auth_error,
    key_exchange_failed, ping, pong, rate_limit_warning, server_hello, server_ready,
};
pub use outbox::{OB_MEMBER, OutboxFailure, Outboxed, outbox_ack, outbox_error};
pub use presence::{PresenceChange, presence, presence_payload};
pub use stamp::{Stamp, Stampable, push_skipped};
pub use time::iso8601;
pub use token::{RefreshFailure, auth_expiring, auth_refreshed, refresh_error, topics_ended};
