//! A question about an open connection: put, taken back, given up. The answer goes to whoever asked, by the way they named; what it
//! means is theirs to say.

use std::sync::Arc;

use super::Asking;
use super::quota::{Share, Subject};
use super::said::Tell;

/// Why nobody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// As many questions of its kind wait as may.
    Busy,
    /// The host is not asked any more.
    Closed,
}

/// A question about a connection that was put. Dropping it takes it back.
pub(crate) struct Inquiry {
    asking: Arc<Asking>,
    number: u64,
    _share: Share,
}

impl Inquiry {
    /// The number the answer comes with.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The host has not answered in time, and hears so.
    pub(crate) fn give_up(self) {
        self.asking.give_up(self.number);
    }
}

impl Drop for Inquiry {
    fn drop(&mut self) {
        self.asking.forget(self.number);
    }
}

impl Asking {
    /// Puts a question about an open connection: `members` are those of a JSON object, without its braces.
    ///
    /// # Errors
    /// Nobody is asked.
    pub(crate) fn inquire(self: &Arc<Self>, subject: Subject, members: &str, tell: Tell) -> Result<Inquiry, Unasked> {
        let share = self.quotas.of(subject).take(members.len()).ok_or(Unasked::Busy)?;
        let members = format!("\"kind\":\"{}\",{members}", subject.as_str());
        let number = self.put_for_connection(&members, tell).ok_or(Unasked::Closed)?;
        Ok(Inquiry { asking: Arc::clone(self), number, _share: share })
    }

    /// Questions of this kind that wait.
    pub(crate) fn inquiries(&self, subject: Subject) -> usize {
        self.quotas.of(subject).count()
    }
}
