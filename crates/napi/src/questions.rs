//! What the host is asked about open connections: the DTOs of the options that say so. Asks nothing.

use std::sync::Arc;

use napi_derive::napi;
use wse_engine::config::{Questions, SnapshotProvider, Snapshots};
use wse_protocol::topic::{Pattern, PatternError};

use crate::convert::seconds;
use crate::error::{Failure, Outcome};

/// The bounds of one kind of question: seconds, and how many wait.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeQuestions {
    pub timeout: f64,
    pub max_waiting: u32,
}

/// Where the state of topics comes from; without a provider the last publication is it.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeSnapshots {
    pub provider: Option<NativeSnapshotProvider>,
}

/// A host that knows the state of the topics that one of these patterns matches.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeSnapshotProvider {
    pub topics: Vec<String>,
    pub timeout: f64,
    pub max_waiting: u32,
}

impl NativeQuestions {
    pub(crate) fn into_questions(self) -> Outcome<Questions> {
        let timeout = seconds(self.timeout, "authorizeTimeout")?;
        Ok(Questions { timeout, max_waiting: self.max_waiting as usize })
    }
}

impl NativeSnapshots {
    pub(crate) fn into_snapshots(self) -> Outcome<Snapshots> {
        let Some(NativeSnapshotProvider { topics, timeout, max_waiting }) = self.provider else {
            return Ok(Snapshots::Last);
        };
        let compile = |(index, text): (usize, &String)| {
            Pattern::new(text)
                .map_err(|error: PatternError| Failure::config(error, format!("snapshots.topics[{index}]")))
        };
        let topics: Vec<Pattern> = topics.iter().enumerate().map(compile).collect::<Outcome<_>>()?;
        let timeout = seconds(timeout, "snapshots.timeout")?;
        let questions = Questions { timeout, max_waiting: max_waiting as usize };
        Ok(Snapshots::Host(SnapshotProvider { topics: Arc::from(topics), questions }))
    }
}
