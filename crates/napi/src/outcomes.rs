//! What became of requests to recover, until JavaScript takes it: a list, and one wake for many.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use wse_engine::{Outcome, Unsettled};

use crate::wake::Wake;

/// Outcomes JavaScript has not taken.
#[derive(Default)]
pub(crate) struct Outcomes(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    settled: Vec<Value>,
    wake: Option<Wake>,
}

impl Outcomes {
    /// Adds what became of the request with this number.
    pub(crate) fn push(&self, ticket: u32, outcome: Result<Outcome, Unsettled>) {
        let outcome = told(ticket, outcome);
        let mut waiting = self.0.lock();
        waiting.settled.push(outcome);
        let wake = waiting.wake.as_ref().filter(|_| waiting.settled.len() == 1).map(Arc::clone);
        drop(waiting);
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Those there are, as the text of a JSON array.
    pub(crate) fn take(&self) -> String {
        Value::Array(std::mem::take(&mut self.0.lock().settled)).to_string()
    }

    /// Sets what is called when one comes after all were taken.
    pub(crate) fn on_settled(&self, wake: Option<Wake>) {
        self.0.lock().wake = wake;
    }
}

/// An outcome as it crosses.
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
                    let epoch = topic.position.map(|position| position.epoch_text());
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
