//! Recovery across the border: a subscription whose outcome comes later, positions and history.

use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{Float64Array, Function};
use napi_derive::napi;
use wse_engine::{HistoryQuery, Position, Settle, Subscribed};

use crate::convert::{bytes, id};
use crate::error::{ErrorCode, Failure};
use crate::server::NativeServer;

/// What a call to recover has begun.
#[napi(object, object_from_js = false)]
pub struct NativeRecoveryBegun {
    /// The topics that are not subscribed, and why.
    pub refused: Vec<NativeRefusedTopic>,
    /// Nobody has this id: nothing was begun.
    pub unknown: bool,
}

/// A topic that is not subscribed.
#[napi(object, object_from_js = false)]
pub struct NativeRefusedTopic {
    pub topic: String,
    pub reason: String,
}

/// A topic's epoch, eight hexadecimal digits, and the offset of its last publication.
#[napi(object, object_from_js = false)]
pub struct NativePosition {
    pub epoch: String,
    pub offset: f64,
}

impl From<Position> for NativePosition {
    #[expect(clippy::cast_precision_loss, reason = "offsets stay below 2^53")]
    fn from(position: Position) -> Self {
        Self { epoch: position.epoch_text(), offset: position.offset as f64 }
    }
}

/// What is kept of a topic: texts with their offsets.
#[napi(object, object_from_js = false)]
pub struct NativeHistory {
    pub position: NativePosition,
    pub complete: bool,
    pub offsets: Vec<f64>,
    pub texts: Vec<String>,
}

#[napi]
impl NativeServer {
    /// Subscribes a connection and has it replayed what it has missed; the outcome comes through `takeSettled` under this number.
    /// `epochs` and `offsets` belong to `topics`; NaN: nothing is to be replayed.
    #[napi]
    pub fn subscribe_with_recovery(
        &self,
        env: &Env,
        ticket: u32,
        conn: f64,
        topics: Vec<String>,
        epochs: Float64Array,
        offsets: Float64Array,
    ) -> napi::Result<NativeRecoveryBegun> {
        self.running().map_err(|failure| failure.thrown(env))?;
        let positions = epochs.iter().zip(offsets.iter()).map(|(epoch, offset)| position(*epoch, *offset));
        let topics: Vec<_> = topics.into_iter().zip(positions).collect();
        let outcomes = Arc::clone(&self.outcomes);
        let settle = Settle::new(move |outcome| outcomes.push(ticket, outcome));
        let (subscribed, refused) = self.engine.subscribe_with_recovery(id(conn), &topics, settle);
        let refused = refused.into_iter().map(|(topic, reason)| NativeRefusedTopic { topic, reason: reason.into() });
        match subscribed {
            Subscribed::NoBudget => Err(Failure::new(
                ErrorCode::SubscriptionLimit,
                "the connection has no subscription left (maxSubscriptionsPerConnection)",
            )
            .thrown(env)),
            other => {
                Ok(NativeRecoveryBegun { refused: refused.collect(), unknown: other == Subscribed::UnknownConnection })
            }
        }
    }

    /// One unreferenced wake per batch of outcomes that appears after `takeSettled` has taken all; null: not any more.
    #[napi]
    pub fn on_settled(
        &mut self,
        #[napi(ts_arg_type = "(() => void) | null")] callback: Option<Function<'_, (), ()>>,
    ) -> napi::Result<()> {
        let wake = callback.map(|callback| self.wake(&callback)).transpose()?;
        self.outcomes.on_settled(wake);
        self.forget_wakes();
        Ok(())
    }

    /// The outcomes there are, as a JSON array of `{ ticket, outcome }`: an object, null where the connection is gone, `"busy"` where as
    /// many requests wait as may.
    #[napi]
    pub fn take_settled(&self) -> String {
        self.outcomes.take()
    }

    /// Where topics are; null for one that cannot be recovered, or of which nothing is known.
    #[napi(ts_return_type = "Array<NativePosition | null>")]
    pub fn topic_positions(&self, topics: Vec<String>) -> Vec<Option<NativePosition>> {
        topics.iter().map(|topic| self.engine.topic_position(topic).map(NativePosition::from)).collect()
    }

    /// The same where offsets begin now if nothing is known of a topic; null: it cannot be recovered, or memory is scarce.
    #[napi(ts_return_type = "Array<NativePosition | null>")]
    pub fn begin_topics(&self, topics: Vec<String>) -> Vec<Option<NativePosition>> {
        topics.iter().map(|topic| self.engine.begin_topic(topic).map(NativePosition::from)).collect()
    }

    /// What is kept of a topic after an offset; null: as `topicPositions`.
    #[napi(ts_return_type = "NativeHistory | null")]
    pub fn history(&self, topic: String, since: f64, limit: u32, reverse: bool) -> Option<NativeHistory> {
        let query = HistoryQuery { since: bytes(since) as u64, limit: limit as usize, reverse };
        let history = self.engine.history(&topic, query)?;
        #[expect(clippy::cast_precision_loss, reason = "offsets stay below 2^53")]
        let (offsets, texts) = history.messages.into_iter().map(|(offset, text)| (offset as f64, text)).unzip();
        Some(NativeHistory { position: history.position.into(), complete: history.complete, offsets, texts })
    }

    pub(crate) fn stop_settling(&self) {
        self.outcomes.on_settled(None);
    }
}

/// A position, unless one of the two is no number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked whole numbers")]
fn position(epoch: f64, offset: f64) -> Option<Position> {
    (!epoch.is_nan()).then_some(Position { epoch: epoch as u32, offset: offset as u64 })
}
