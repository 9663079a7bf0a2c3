//! Presence as JavaScript asks about it and changes it. Data cross as JSON text that the facade has written.

use std::fmt::Write;

use napi::Env;
use napi_derive::napi;
use wse_engine::{PresenceError, PresenceRefused, Subscribed};

use crate::connection::no_budget;
use crate::convert::id;
use crate::error::{ErrorCode, Failure};
use crate::server::NativeServer;
use crate::text::Text;

/// What has become of a subscription with presence.
#[napi(object, object_from_js = false)]
pub struct NativePresent {
    /// Topics and patterns that were accepted.
    pub accepted: u32,
    /// Topics the user is present on.
    pub present: u32,
    /// Topics they are not.
    pub refused: u32,
    /// Why, of the first of those.
    #[napi(ts_type = "string | null")]
    pub code: Option<String>,
}

/// Users on a topic, and connections by which they are there.
#[napi(object, object_from_js = false)]
pub struct NativePresenceStats {
    pub num_users: f64,
    pub num_connections: f64,
}

#[napi]
impl NativeServer {
    /// As `subscribe()`, and makes the user of the connection present on the topics. `data`: JSON text of an object; null: it was
    /// too large to be handed over.
    #[napi(ts_return_type = "NativePresent | null")]
    pub fn subscribe_present(
        &self,
        env: &Env,
        conn: f64,
        topics: Vec<String>,
        #[napi(ts_arg_type = "string | null")] data: Option<Text>,
    ) -> napi::Result<Option<NativePresent>> {
        let subscribed = self.running().and_then(|()| {
            let (subscribed, present) = self.engine.subscribe_present(id(conn), &topics, data.as_deref());
            match subscribed {
                Subscribed::UnknownConnection => Ok(None),
                Subscribed::NoBudget => Err(no_budget()),
                Subscribed::Accepted(count) => Ok(Some(NativePresent {
                    accepted: small(count),
                    present: small(present.topics),
                    refused: small(present.refused),
                    code: present.why.map(|why| code(why).name().to_owned()),
                })),
            }
        });
        subscribed.map_err(|failure| failure.thrown(env))
    }

    /// Other data wherever a connection is present; on how many topics. null: nobody has this id. `data`: as with
    /// `subscribePresent()`. Throws `WSE_PRESENCE_OFF`, `WSE_PRESENCE_NONE`, `WSE_PRESENCE_TOO_LARGE` or `WSE_OVERLOADED`.
    #[napi]
    pub fn update_presence(
        &self,
        env: &Env,
        conn: f64,
        #[napi(ts_arg_type = "string | null")] data: Option<Text>,
    ) -> napi::Result<Option<u32>> {
        let updated = self.running().and_then(|()| {
            let Some(data) = &data else { return Err(refused(PresenceRefused::TooLarge)) };
            match self.engine.update_presence(id(conn), data) {
                Ok(topics) => Ok(Some(small(topics))),
                Err(PresenceError::UnknownConnection) => Ok(None),
                Err(PresenceError::NotPresent) => {
                    Err(Failure::new(ErrorCode::PresenceNone, "the connection is present on no topic"))
                }
                Err(PresenceError::Refused(why)) => Err(refused(why)),
            }
        });
        updated.map_err(|failure| failure.thrown(env))
    }

    /// Who is present on a topic, as the text of a JSON object: user -> data and connections.
    #[napi]
    pub fn presence(&self, topic: String) -> String {
        let mut text = String::from("{");
        for (index, member) in self.engine.presence(&topic).iter().enumerate() {
            let user = serde_json::Value::from(&*member.user);
            let comma = if index == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(text, r#"{comma}{user}:{{"data":{},"connections":{}}}"#, member.data, member.connections);
        }
        text.push('}');
        text
    }

    /// How many users are present on a topic, and by how many connections.
    #[napi]
    pub fn presence_stats(&self, topic: String) -> NativePresenceStats {
        let (users, connections) = self.engine.presence_stats(&topic);
        NativePresenceStats { num_users: number(users), num_connections: number(connections) }
    }

    /// Bytes of a member's data at most; null: there is no presence.
    #[napi]
    pub fn max_presence_data(&self) -> Option<f64> {
        self.engine.max_presence_data().map(number)
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of connections and sizes stay far below 2^53")]
fn number(count: usize) -> f64 {
    count as f64
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The name JavaScript knows a refusal by.
const fn code(why: PresenceRefused) -> ErrorCode {
    match why {
        PresenceRefused::Off => ErrorCode::PresenceOff,
        PresenceRefused::NoUser => ErrorCode::PresenceNoUser,
        PresenceRefused::Invalid => ErrorCode::InvalidEvent,
        PresenceRefused::TooLarge => ErrorCode::PresenceTooLarge,
        PresenceRefused::Full => ErrorCode::PresenceFull,
        PresenceRefused::Overloaded => ErrorCode::Overloaded,
    }
}

fn refused(why: PresenceRefused) -> Failure {
    let text = match why {
        PresenceRefused::Off => "the server has no presence (presence)",
        PresenceRefused::TooLarge => "the data are larger than presence.maxDataSize",
        PresenceRefused::Overloaded => "the engine holds publisher.hardLimit bytes: nothing was changed",
        _ => why.as_str(),
    };
    Failure::new(code(why), text)
}
