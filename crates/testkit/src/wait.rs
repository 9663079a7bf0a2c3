//! Waiting for conditions with a deadline. Never a bare sleep: whoever waits says for what.

use std::time::{Duration, Instant};

/// How long a condition may take before a test gives up. Generous, because test machines are busy.
pub const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within [`DEADLINE`]; `what` says what was waited for.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not true after {DEADLINE:?}: {what}");
        std::thread::sleep(POLL);
    }
}
