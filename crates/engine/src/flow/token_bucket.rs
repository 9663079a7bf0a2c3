//! A token bucket and the two notices it owes its connection. Owns no clock.

use crate::config::RateLimit;

/// At most one notice of a kind per connection in this many milliseconds.
const NOTICE_INTERVAL_MS: u32 = 1000;
/// Below this share of the capacity a warning is due.
const WARN_BELOW: f64 = 0.2;

/// The bucket of one connection.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    limit: RateLimit,
    tokens: f64,
    refilled: u32,
    noticed: Option<u32>,
    warned: Option<u32>,
}

/// What taking a token found.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// There was one.
    Ok,
    /// There was one, but few are left: send a warning with the tokens that remain.
    Warn(f64),
    /// There was none. `notify`: the connection has not been told within the last second.
    Empty { notify: bool },
}

impl TokenBucket {
    pub(crate) const fn new(limit: RateLimit, now: u32) -> Self {
        Self { limit, tokens: limit.capacity, refilled: now, noticed: None, warned: None }
    }

    /// Takes one token at `now` (wrapping milliseconds).
    pub(crate) fn take(&mut self, now: u32) -> Taken {
        let elapsed = f64::from(crate::clock::Clock::since(now, self.refilled)) / 1000.0;
        self.tokens = (self.tokens + elapsed * self.limit.refill).min(self.limit.capacity);
        self.refilled = now;
        if self.tokens < 1.0 {
            return Taken::Empty { notify: due(&mut self.noticed, now) };
        }
        self.tokens -= 1.0;
        if self.tokens < self.limit.capacity * WARN_BELOW && due(&mut self.warned, now) {
            return Taken::Warn(self.tokens);
        }
        Taken::Ok
    }
}

fn due(last: &mut Option<u32>, now: u32) -> bool {
    let due = last.is_none_or(|then| crate::clock::Clock::since(now, then) >= NOTICE_INTERVAL_MS);
    if due {
        *last = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empties_warns_once_a_second_and_refills() {
        let mut bucket = TokenBucket::new(RateLimit { capacity: 10.0, refill: 1.0 }, 0);
        for _ in 0..8 {
            assert_eq!(bucket.take(0), Taken::Ok);
        }
        assert_eq!(bucket.take(0), Taken::Warn(1.0));
        assert_eq!(bucket.take(0), Taken::Ok, "the second warning within a second is held back");
        assert_eq!(bucket.take(0), Taken::Empty { notify: true });
        assert_eq!(bucket.take(999), Taken::Empty { notify: false });
        assert_eq!(bucket.take(1500), Taken::Warn(0.5));
    }
}
