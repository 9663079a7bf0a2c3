//! The reading half of `NativeServer`: this thread as a reader of events, and what is said of readers that stand still.

use std::sync::Arc;

use napi::bindgen_prelude::{Function, Uint8Array};
use napi_derive::napi;
use wse_engine::{Consumer, Stall};

use crate::convert::{crossed, millis};
use crate::hot::{add_reader, remove_reader};
use crate::inline;
use crate::server::NativeServer;

/// A reader that has stopped reading while events waited.
#[napi(object, object_from_js = false)]
pub struct NativeStall {
    pub thread: u32,
    pub events: u32,
    pub moved: bool,
}

impl From<Stall> for NativeStall {
    fn from(stall: Stall) -> Self {
        Self { thread: stall.thread, events: u32::try_from(stall.events).unwrap_or(u32::MAX), moved: stall.moved }
    }
}

#[napi]
impl NativeServer {
    /// Whether the engine runs on the event loop of this thread.
    #[napi]
    pub fn runs_here(&self) -> bool {
        inline::find(self.handle).is_some()
    }

    /// The number of this thread, where readers that stand still are reported.
    #[napi]
    pub fn set_thread(&mut self, thread: u32) {
        self.thread = thread;
    }

    /// Whether events are thrown away, so that nobody may read.
    #[napi]
    pub fn discards_events(&self) -> bool {
        self.engine.discards_events()
    }

    /// Readers that have stopped reading while events waited, each once.
    #[napi]
    pub fn take_stalls(&self) -> Vec<NativeStall> {
        self.engine.take_stalls().into_iter().map(NativeStall::from).collect()
    }

    /// This thread's reader is busy with what it took, and will come for more.
    #[napi]
    pub fn excuse_reader(&self) {
        if let Some(consumer) = &self.consumer {
            self.engine.excuse(consumer);
        }
    }

    /// Stops being a reader, if this thread is one: its connections go to others.
    #[napi]
    pub fn leave(&mut self) {
        self.stop_consuming();
    }

    /// One unreferenced wake per batch that appears after `takeBatch` found nothing. Makes this thread a consumer, and returns
    /// its number for `takeBatch`; null ends that. Where the engine runs on this thread, `true` says that the function is done with all it
    /// took: the engine looks itself whether there is more, and calls again when there is.
    #[napi]
    pub fn on_batch(
        &mut self,
        #[napi(ts_arg_type = "(() => unknown) | null")] callback: Option<Function<'_, (), ()>>,
    ) -> napi::Result<u32> {
        let Some(callback) = callback else {
            self.stop_consuming();
            return Ok(0);
        };
        let consumer = self.consume();
        let wake = self.wake_for(&callback, Some(&consumer))?;
        let reader = *self.reader.get_or_insert_with(|| add_reader(&self.engine, &consumer));
        self.engine.on_batch(&consumer, Some(wake));
        Ok(reader)
    }

    /// As `takeBatch`, but blocks up to `timeoutMs` milliseconds for the first event.
    #[napi]
    pub fn drain_inbound(&mut self, mut out: Uint8Array, max: u32, columns: bool, timeout_ms: f64) -> f64 {
        let consumer = self.consume();
        // SAFETY: the facade hands in a buffer of its own that no other thread sees, and JavaScript does not run meanwhile.
        let out = unsafe { out.as_mut() };
        let timeout = millis(timeout_ms);
        crossed(match inline::find(self.handle) {
            Some(host) => host.wait_batch(&consumer, (max as usize, columns), timeout, out),
            None => self.engine.wait_batch(&consumer, max as usize, columns, timeout, out),
        })
    }

    /// Whether any thread reads events.
    #[napi]
    pub fn has_reader(&self) -> bool {
        self.engine.has_reader()
    }

    /// Inbound events waiting to be read.
    #[napi]
    pub fn inbound_queue_depth(&self) -> u32 {
        u32::try_from(self.engine.inbound_queue_depth()).unwrap_or(u32::MAX)
    }

    /// Inbound events dropped since the start.
    #[napi]
    pub fn inbound_dropped_count(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
        let dropped = self.engine.inbound_dropped() as f64;
        dropped
    }

    /// Gives this thread's connections to the next one that reads.
    pub(crate) fn stop_consuming(&mut self) {
        if let Some(reader) = self.reader.take() {
            remove_reader(reader);
        }
        if let Some(consumer) = self.consumer.take() {
            self.engine.leave(&consumer);
            self.left = Some(consumer);
            self.forget_wakes();
        }
    }

    fn consume(&mut self) -> Arc<Consumer> {
        let (thread, left) = (self.thread, self.left.as_ref());
        let consumer = Arc::clone(self.consumer.get_or_insert_with(|| self.engine.join_as(thread, left)));
        self.left = None;
        consumer
    }
}
