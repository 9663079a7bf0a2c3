//! Calls of a host that is asked who may in: it is woken, takes questions, and answers them, many at once each time.

use std::sync::Arc;

use super::Engine;
use crate::asking::{AnswerError, Fault};

impl Engine {
    /// Sets what is called, from any thread, when a question comes after [`Self::take_questions`] found none; `None`: nobody
    /// takes any more.
    pub fn on_questions(&self, wake: Option<Arc<dyn Fn() + Send + Sync>>) {
        self.shared.asking.on_questions(wake);
    }

    /// Some of the questions that wait, as a JSON object: `asked`, and `gone`, the numbers of those taken before that need no
    /// answer any more. `None`: nothing waits.
    pub fn take_questions(&self) -> Option<String> {
        self.shared.asking.take()
    }

    /// Answers questions, in any order; `answers` is a JSON array. Returns what is wrong with some of them: those clients get 500.
    ///
    /// # Errors
    /// The text is no list of answers, and nobody was answered.
    pub fn answer(&self, answers: &str) -> Result<Vec<Fault>, AnswerError> {
        self.shared.asking.answer(answers)
    }
}
