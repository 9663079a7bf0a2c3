//! What can be recovered, as the constructor is told.

use std::time::Duration;

use napi_derive::napi;
use wse_engine::config::{Recovery, RecoveryRule, RingPolicy};
use wse_protocol::topic::Pattern;

use crate::convert::bytes;
use crate::error::{Failure, Outcome};

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

impl NativeRecovery {
    pub(crate) fn into_recovery(self) -> Outcome<Recovery> {
        let pattern = |text: &str, path: String| Pattern::new(text).map_err(|error| Failure::config(error, path));
        let rule = |(at, rule): (usize, NativeRecoveryRule)| {
            let ring = rule.buffer_size.map(|size| policy(size, rule.ttl)).transpose()?;
            Ok(RecoveryRule { topics: pattern(&rule.topics, format!("recovery.topics[{at}]"))?, ring })
        };
        let last = self.last_values.iter().map(|text| pattern(text, "snapshots".into()));
        Ok(Recovery {
            ring: Some(policy(self.buffer_size, self.ttl)?),
            last_values: last.collect::<Outcome<_>>()?,
            rules: self.rules.into_iter().enumerate().map(rule).collect::<Outcome<_>>()?,
            memory_budget: bytes(self.memory_budget),
            max_messages: self.max_messages,
            replay_rate: bytes(self.max_replay_rate) as u64,
            connection_replay_rate: bytes(self.max_connection_replay_rate) as u64,
        })
    }
}

fn policy(size: u32, ttl: Option<f64>) -> Outcome<RingPolicy> {
    let ttl = ttl.map(|ttl| Duration::try_from_secs_f64(ttl).map_err(|error| Failure::config(error, "recovery.ttl")));
    Ok(RingPolicy { size, ttl: ttl.transpose()? })
}
