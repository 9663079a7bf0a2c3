//! Recovery across the border: options, a subscription whose outcome comes later, positions and history. Outcomes wait in a list of
//! this thread's view, with one wake for many, until JavaScript takes them.

use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Float64Array, Function};
use napi_derive::napi;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use wse_engine::config::{Recovery, RecoveryRule, RingPolicy};
use wse_engine::{HistoryQuery, Outcome, Position, Settle, Subscribed, Unsettled};
use wse_protocol::topic::Pattern;

use crate::convert::id;
use crate::error::{self, ErrorCode, Failure};
use crate::options::bytes;
use crate::server::NativeServer;
use crate::wake::Wake;

/// What can be recovered. Bytes, and bytes per second.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeRecovery {
    pub rules: Vec<NativeRecoveryRule>,
    pub buffer_size: u32,
    /// Seconds; null: as long as there is memory.
    pub ttl: Option<f64>,
    pub max_messages: u32,
    pub memory_budget: f64,
    pub max_replay_rate: f64,
    pub max_connection_replay_rate: f64,
    /// Patterns.
    pub last_values: Vec<String>,
}

/// What is kept of the topics a pattern matches; `bufferSize` null: nothing. Seconds.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeRecoveryRule {
    pub topics: String,
    pub buffer_size: Option<u32>,
    pub ttl: Option<f64>,
}

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
        Self { epoch: format!("{:08x}", position.epoch), offset: position.offset as f64 }
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

impl NativeRecovery {
    pub(crate) fn into_recovery(self) -> error::Outcome<Recovery> {
        let pattern = |text: &str, path: String| Pattern::new(text).map_err(|error| Failure::config(error, path));
        let rule = |(at, rule): (usize, NativeRecoveryRule)| {
            let ring = rule.buffer_size.map(|size| policy(size, rule.ttl)).transpose()?;
            Ok(RecoveryRule { topics: pattern(&rule.topics, format!("recovery.topics[{at}]"))?, ring })
        };
        let last = self.last_values.iter().map(|text| pattern(text, "snapshots".into()));
        Ok(Recovery {
            ring: Some(policy(self.buffer_size, self.ttl)?),
            last_values: last.collect::<error::Outcome<_>>()?,
            rules: self.rules.into_iter().enumerate().map(rule).collect::<error::Outcome<_>>()?,
            memory_budget: bytes(self.memory_budget),
            max_messages: self.max_messages,
            replay_rate: bytes(self.max_replay_rate) as u64,
            connection_replay_rate: bytes(self.max_connection_replay_rate) as u64,
        })
    }
}

fn policy(size: u32, ttl: Option<f64>) -> error::Outcome<RingPolicy> {
    let ttl = ttl.map(|ttl| Duration::try_from_secs_f64(ttl).map_err(|error| Failure::config(error, "recovery.ttl")));
    Ok(RingPolicy { size, ttl: ttl.transpose()? })
}

/// Outcomes JavaScript has not taken.
#[derive(Default)]
pub(crate) struct Outcomes(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    settled: Vec<Value>,
    wake: Option<Wake>,
}

impl Outcomes {
    fn push(&self, outcome: Value) {
        let mut waiting = self.0.lock();
        waiting.settled.push(outcome);
        let wake = waiting.wake.as_ref().filter(|_| waiting.settled.len() == 1).map(Arc::clone);
        drop(waiting);
        if let Some(wake) = wake {
            wake();
        }
    }
}

/// What became of the request with this number.
fn told(ticket: u32, outcome: Result<Outcome, Unsettled>) -> Value {
    match outcome {
        Err(Unsettled::Gone) => json!({ "ticket": ticket, "outcome": null }),
        Err(Unsettled::Busy) => json!({ "ticket": ticket, "outcome": "busy" }),
        Ok(outcome) => {
            let recovered = outcome.recovered();
            let topics: Map<String, Value> = outcome
                .topics
                .into_iter()
                .map(|(name, topic)| {
                    let epoch = topic.position.map(|position| format!("{:08x}", position.epoch));
                    let value = json!({
                        "epoch": epoch,
                        "offset": topic.position.map_or(0, |position| position.offset),
                        "recoverable": epoch.is_some(),
                        "recovered": topic.recovered,
                        "count": topic.count,
                    });
                    (name.into(), value)
                })
                .collect();
            json!({ "ticket": ticket, "outcome": { "recovered": recovered, "topics": topics } })
        }
    }
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
        let settle = Settle::new(move |outcome| outcomes.push(told(ticket, outcome)));
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
        self.outcomes.0.lock().wake = wake;
        self.forget_wakes();
        Ok(())
    }

    /// The outcomes there are, as a JSON array of `{ ticket, outcome }`: an object, null where the connection is gone, `"busy"` where as
    /// many requests wait as may.
    #[napi]
    pub fn take_settled(&self) -> String {
        Value::Array(std::mem::take(&mut self.outcomes.0.lock().settled)).to_string()
    }

    /// Where topics are; null for one that cannot be recovered, or of which nothing is known.
    #[napi(ts_return_type = "Array<NativePosition | null>")]
    pub fn topic_positions(&self, topics: Vec<String>) -> Vec<Option<NativePosition>> {
        topics.iter().map(|topic| self.engine.topic_position(topic).map(NativePosition::from)).collect()
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
        self.outcomes.0.lock().wake = None;
    }
}

/// A position, unless one of the two is no number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked whole numbers")]
fn position(epoch: f64, offset: f64) -> Option<Position> {
    (!epoch.is_nan()).then_some(Position { epoch: epoch as u32, offset: offset as u64 })
}
