//! Requests to recover that wait until something may be replayed again. Bounded; knows no rate.

use std::collections::VecDeque;

use crate::recovery::Request;

/// Requests that may wait for their turn.
const MAX_WAITING: usize = 65_536;

/// Those that wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Waiting(VecDeque<Request>);

impl Waiting {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Has one more wait.
    ///
    /// # Errors
    /// As many wait as may: here it is again.
    pub(super) fn add(&mut self, request: Request) -> Result<(), Request> {
        if self.0.len() >= MAX_WAITING {
            return Err(request);
        }
        self.0.push_back(request);
        Ok(())
    }

    /// The one that has waited longest.
    pub(super) fn next(&mut self) -> Option<Request> {
        self.0.pop_front()
    }
}
