//! A token bucket and the two notices it owes its connection. Owns no clock.

use crate::clock::Millis;
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
    refilled: Millis,
    noticed: Option<Millis>,
    warned: Option<Millis>,
}

/// What taking a token found.
#[derive(Debug, PartialEq)]
pub(crate) enum Token {
    /// There was one.
    Ok,
    /// There was one, but few: send a warning with the tokens there were before this one was taken.
    Warn(f64),
    /// There was none. `notify`: the connection has not been told within the last second.
    Empty { notify: bool },
}

impl TokenBucket {
    pub(crate) const fn new(limit: RateLimit, now: Millis) -> Self {
        Self { limit, tokens: limit.capacity, refilled: now, noticed: None, warned: None }
    }

    /// Takes one token at `now`.
    pub(crate) fn take(&mut self, now: Millis) -> Token {
        let elapsed = f64::from(now.since(self.refilled)) / 1000.0;
        self.tokens = (self.tokens + elapsed * self.limit.refill).min(self.limit.capacity);
        self.refilled = now;
        if self.tokens < 1.0 {
            return Token::Empty { notify: due(&mut self.noticed, now) };
        }
        // Counted as published servers count: the warning speaks of the bucket before the event took its token.
        let left = self.tokens;
        self.tokens -= 1.0;
        if left < self.limit.capacity * WARN_BELOW && due(&mut self.warned, now) {
            return Token::Warn(left);
        }
        Token::Ok
    }
}

fn due(last: &mut Option<Millis>, now: Millis) -> bool {
    let due = last.is_none_or(|then| now.since(then) >= NOTICE_INTERVAL_MS);
    if due {
        *last = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u32) -> Millis {
        Millis::from_raw(ms)
    }

    #[test]
    fn empties_warns_once_a_second_and_refills() {
        let mut bucket = TokenBucket::new(RateLimit { capacity: 20.0, refill: 2.0 }, at(0));
        for _ in 0..17 {
            assert_eq!(bucket.take(at(0)), Token::Ok);
        }
        assert_eq!(bucket.take(at(0)), Token::Warn(3.0), "before the 18th event took one");
        assert_eq!(bucket.take(at(0)), Token::Ok, "the second warning within a second is held back");
        assert_eq!(bucket.take(at(0)), Token::Ok);
        assert_eq!(bucket.take(at(0)), Token::Empty { notify: true });
        assert_eq!(bucket.take(at(499)), Token::Empty { notify: false });
        assert_eq!(bucket.take(at(1500)), Token::Warn(3.0));
    }

    #[test]
    fn a_bucket_of_five_never_warns() {
        let mut bucket = TokenBucket::new(RateLimit { capacity: 5.0, refill: 0.0 }, at(0));
        for _ in 0..5 {
            assert_eq!(bucket.take(at(0)), Token::Ok, "a fifth is one token: with less there is none to take");
        }
        assert_eq!(bucket.take(at(0)), Token::Empty { notify: true });
    }
}
