//! Connections as JavaScript asks about them and changes them: what is known of one, its subscriptions, its end.

use napi::Env;
use napi::bindgen_prelude::Float64Array;
use napi_derive::napi;
use wse_engine::{ConnectionInfo, Subscribed};
use wse_protocol::close_code::CloseCode;

use crate::convert::id;
use crate::error::{ErrorCode, Failure};
use crate::server::NativeServer;

/// Members of one queue group.
#[napi(object, object_from_js = false)]
pub struct NativeQueueGroup {
    pub group: String,
    pub members: u32,
}

/// What is known of a connection. Bytes, and Unix milliseconds.
#[napi(object, object_from_js = false)]
pub struct NativeConnectionInfo {
    pub id: String,
    #[napi(ts_type = "string | null")]
    pub user: Option<String>,
    #[napi(ts_type = "string | null")]
    pub data: Option<String>,
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
            data: info.data.map(|data| data.to_string()),
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

#[napi]
impl NativeServer {
    /// How many of the topics were accepted; null: nobody has this id. Throws `WSE_SUBSCRIPTION_LIMIT` when the connection
    /// has no subscription left.
    #[napi]
    pub fn subscribe(
        &self,
        env: &Env,
        conn: f64,
        topics: Vec<String>,
        #[napi(ts_arg_type = "string | null")] queue_group: Option<String>,
    ) -> napi::Result<Option<u32>> {
        let subscribed =
            self.running().and_then(|()| match self.engine.subscribe(id(conn), &topics, queue_group.as_deref()) {
                Subscribed::Accepted(count) => Ok(Some(u32::try_from(count).unwrap_or(u32::MAX))),
                Subscribed::UnknownConnection => Ok(None),
                Subscribed::NoBudget => Err(no_budget()),
            });
        subscribed.map_err(|failure| failure.thrown(env))
    }

    /// Ends subscriptions, all of them with null; false: nobody has this id.
    #[napi]
    pub fn unsubscribe(
        &self,
        env: &Env,
        conn: f64,
        #[napi(ts_arg_type = "string[] | null")] topics: Option<Vec<String>>,
    ) -> napi::Result<bool> {
        self.running().map_err(|failure| failure.thrown(env))?;
        Ok(self.engine.unsubscribe(id(conn), topics.as_deref()))
    }

    /// Replaces the ACL of a connection; null allows everything, and denies nothing; false: nobody has this id.
    #[napi]
    pub fn set_topic_acl(
        &self,
        env: &Env,
        conn: f64,
        #[napi(ts_arg_type = "string[] | null")] allow: Option<Vec<String>>,
        #[napi(ts_arg_type = "string[] | null")] deny: Option<Vec<String>>,
    ) -> napi::Result<bool> {
        let (allow, deny) = (allow.unwrap_or_default(), deny.unwrap_or_default());
        let set = self.running().and_then(|()| {
            let set = self.engine.set_topic_acl(id(conn), &allow, &deny);
            set.map_err(|error| Failure::new(ErrorCode::InvalidAcl, error))
        });
        set.map_err(|failure| failure.thrown(env))
    }

    /// Closes a connection; false: nobody has this id.
    #[napi]
    pub fn disconnect(&self, env: &Env, conn: f64, code: u16, reason: String) -> napi::Result<bool> {
        self.running().map_err(|failure| failure.thrown(env))?;
        Ok(self.engine.disconnect(id(conn), CloseCode(code), &reason))
    }

    /// How many connections are open.
    #[napi]
    pub fn connection_count(&self) -> u32 {
        u32::try_from(self.engine.connection_count()).unwrap_or(u32::MAX)
    }

    /// The ids of all open connections.
    #[napi]
    pub fn connections(&self) -> Float64Array {
        numbers(self.engine.connections())
    }

    /// The UUID a client knows its connection by; null: nobody has this id.
    #[napi]
    pub fn connection_id(&self, conn: f64) -> Option<String> {
        self.engine.connection_uuid(id(conn))
    }

    /// The subprotocol a connection has agreed on; null: none, or nobody has this id.
    #[napi]
    pub fn connection_protocol(&self, conn: f64) -> Option<String> {
        self.engine.connection_protocol(id(conn)).map(|name| name.to_string())
    }

    /// What is known of a connection; null: nobody has this id.
    #[napi(ts_return_type = "NativeConnectionInfo | null")]
    pub fn connection_info(&self, conn: f64) -> Option<NativeConnectionInfo> {
        self.engine.connection_info(id(conn)).map(NativeConnectionInfo::from)
    }

    /// The ids of the connections of the user a verified token names.
    #[napi]
    pub fn user_connections(&self, user: String) -> Float64Array {
        numbers(self.engine.user_connections(&user))
    }

    /// How many connections are subscribed to exactly this name.
    #[napi]
    pub fn topic_subscriber_count(&self, topic: String) -> u32 {
        u32::try_from(self.engine.topic_subscribers(&topic)).unwrap_or(u32::MAX)
    }

    /// The queue groups of a topic.
    #[napi]
    pub fn queue_group_info(&self, topic: String) -> Vec<NativeQueueGroup> {
        let groups = self.engine.queue_groups(&topic).into_iter();
        groups
            .map(|(group, members)| NativeQueueGroup { group, members: u32::try_from(members).unwrap_or(u32::MAX) })
            .collect()
    }
}

/// What a connection that holds as many subscriptions as it may is told.
pub(crate) fn no_budget() -> Failure {
    Failure::new(
        ErrorCode::SubscriptionLimit,
        "the connection has no subscription left (maxSubscriptionsPerConnection)",
    )
}

/// Ids of connections, as JavaScript's numbers.
#[expect(clippy::cast_precision_loss, reason = "connection ids stay below 2^53")]
fn numbers(ids: Vec<u64>) -> Float64Array {
    Float64Array::new(ids.into_iter().map(|id| id as f64).collect())
}
