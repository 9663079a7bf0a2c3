//! What is known of a connection, as JavaScript gets it.

use napi_derive::napi;
use wse_engine::ConnectionInfo;

/// What is known of a connection. Bytes, and Unix milliseconds.
#[napi(object, object_from_js = false)]
pub struct NativeConnectionInfo {
    pub id: String,
    #[napi(ts_type = "string | null")]
    pub user: Option<String>,
    pub path: String,
    pub address: String,
    pub secure: bool,
    pub connected_at: f64,
    #[napi(ts_type = "string | null")]
    pub protocol: Option<String>,
    pub queued_bytes: f64,
    pub topics: Vec<String>,
    pub queue_groups: Vec<NativeMembership>,
}

/// A queue group of a topic a connection is a member of.
#[napi(object, object_from_js = false)]
pub struct NativeMembership {
    pub topic: String,
    pub group: String,
}

impl From<ConnectionInfo> for NativeConnectionInfo {
    #[expect(clippy::cast_precision_loss, reason = "times and sizes stay below 2^53")]
    fn from(info: ConnectionInfo) -> Self {
        let groups = info.groups.into_iter();
        Self {
            id: info.uuid.hyphenated().to_string(),
            user: info.user.map(|user| user.to_string()),
            path: info.path.into(),
            address: info.address.to_string(),
            secure: info.secure,
            connected_at: info.connected_ms as f64,
            protocol: info.subprotocol.map(|name| name.to_string()),
            queued_bytes: info.queued_bytes as f64,
            topics: info.topics.into_iter().map(String::from).collect(),
            queue_groups: groups
                .map(|(topic, group)| NativeMembership { topic: topic.into(), group: group.into() })
                .collect(),
        }
    }
}
