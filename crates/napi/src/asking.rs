//! The questions of an engine, as the thread that answers them sees them: a wake, a batch of questions, a batch
//! of answers.

use napi::Env;
use napi::bindgen_prelude::Function;
use napi_derive::napi;
use wse_engine::Fault;

use crate::error::{ErrorCode, Failure};
use crate::server::NativeServer;

/// What is wrong with an answer to the question `id`.
#[napi(object, object_from_js = false)]
pub struct NativeFault {
    pub id: f64,
    pub path: String,
    pub reason: String,
}

#[napi]
impl NativeServer {
    /// One unreferenced wake per batch of questions about handshakes that appears after `takeQuestions` found none; null: this
    /// thread answers none any more.
    #[napi]
    pub fn on_questions(
        &mut self,
        #[napi(ts_arg_type = "(() => void) | null")] callback: Option<Function<'_, (), ()>>,
    ) -> napi::Result<()> {
        self.stop_answering();
        if let Some(callback) = callback {
            let wake = self.wake(&callback)?;
            self.engine.on_questions(Some(wake));
            self.answers = true;
        }
        Ok(())
    }

    /// Some of the questions that wait, as JSON: `{ asked: […], gone: […] }`; null: there are none, and the next wakes.
    #[napi(ts_return_type = "string | null")]
    pub fn take_questions(&self) -> Option<String> {
        self.engine.take_questions()
    }

    /// Answers questions, as a JSON array. Returns what is wrong with some of the answers.
    #[napi]
    pub fn answer_questions(&self, env: &Env, answers: String) -> napi::Result<Vec<NativeFault>> {
        let faults = self.engine.answer(&answers);
        let faults = faults.map_err(|error| Failure::new(ErrorCode::Internal, error).thrown(env))?;
        #[expect(clippy::cast_precision_loss, reason = "numbers of questions stay below 2^53")]
        let native = |fault: Fault| NativeFault { id: fault.number as f64, path: fault.path, reason: fault.reason };
        Ok(faults.into_iter().map(native).collect())
    }

    pub(crate) fn stop_answering(&mut self) {
        if std::mem::take(&mut self.answers) {
            self.engine.on_questions(None);
            self.forget_wakes();
        }
    }
}
