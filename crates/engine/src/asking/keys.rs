//! Keys of tokens by the names tokens give them (`kid`), kept for a while: whom the host has named, whom it does not know, whom it
//! is being asked about. Asks nobody itself.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wse_crypto::jwt::JwtKey;

/// The name of a key; `None`: of tokens that name none.
pub(crate) type Kid = Option<Box<str>>;

/// Keys that are kept; the one that is soonest out of date makes room.
const MAX_KNOWN: usize = 64;
/// Names without a key that are kept.
const MAX_UNKNOWN: usize = 256;
/// Questions at once about names that were not known before.
const MAX_ASKED: usize = 16;
/// Questions about such names a second, and in a row.
const QUESTIONS: (f64, f64) = (10.0, 32.0);
/// For how long nobody is asked about a name the host does not know.
const UNKNOWN: Duration = Duration::from_secs(10);
/// For how long nobody is asked about a name the host has failed at, or has not answered in time.
const FAILED: Duration = Duration::from_secs(1);

/// What is known about a name.
pub(crate) enum Found {
    Key(Arc<JwtKey>),
    /// There is no such key.
    Unknown,
    /// It cannot be said now.
    Unsaid,
    /// The host is being asked; this tells when it has answered, and it has until then.
    Asked(Arc<Notify>, Instant),
}

/// What the host has said of a name.
pub(super) enum Said {
    Key(JwtKey),
    Unknown,
    Failed,
}

/// The names.
pub(super) struct Keys {
    ttl: Duration,
    /// Time the host has for an answer.
    patience: Duration,
    known: HashMap<Kid, (Arc<JwtKey>, Instant), RandomState>,
    /// Until when, and whether it was the host that failed.
    unknown: HashMap<Kid, (bool, Instant), RandomState>,
    asked: HashMap<Kid, Asked, RandomState>,
    /// Questions about new names that may be put now, and since when.
    allowance: (f64, Instant),
}

struct Asked {
    number: u64,
    /// When the host is late with it.
    until: Instant,
    answered: Arc<Notify>,
}

impl Keys {
    /// Keys are kept for `ttl`.
    pub(super) fn new(ttl: Duration, patience: Duration, now: Instant) -> Self {
        Self {
            ttl,
            patience,
            known: HashMap::default(),
            unknown: HashMap::default(),
            asked: HashMap::default(),
            allowance: (QUESTIONS.1, now),
        }
    }

    /// What is known about a name.
    pub(super) fn look(&self, kid: &Kid, now: Instant) -> Option<Found> {
        if let Some((key, until)) = self.known.get(kid)
            && now < *until
        {
            return Some(Found::Key(Arc::clone(key)));
        }
        if let Some((failed, until)) = self.unknown.get(kid)
            && now < *until
        {
            return Some(if *failed { Found::Unsaid } else { Found::Unknown });
        }
        let asked = self.asked.get(kid)?;
        Some(Found::Asked(Arc::clone(&asked.answered), asked.until))
    }

    /// Gives up the questions the host has not answered in time: it has failed at them. Returns their numbers. Who waits for one
    /// knows its time.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<u64> {
        let late: Vec<(Kid, Asked)> = self.asked.extract_if(|_, asked| now >= asked.until).collect();
        let give_up = |(kid, asked): (Kid, Asked)| {
            self.refuse(kid, true, asked.until + FAILED);
            asked.number
        };
        late.into_iter().map(give_up).collect()
    }

    /// Whether the host may be asked about a name nothing is known about; `false`: it has been asked enough.
    pub(super) fn may_ask(&mut self, kid: &Kid, now: Instant) -> bool {
        // A key that is out of date is asked for whoever floods us with names.
        if !self.known.contains_key(kid) {
            let (tokens, since) = self.allowance;
            let tokens = (tokens + now.duration_since(since).as_secs_f64() * QUESTIONS.0).min(QUESTIONS.1);
            let enough = tokens < 1.0 || self.asked.len() >= MAX_ASKED;
            self.allowance = (if enough { tokens } else { tokens - 1.0 }, now);
            return !enough;
        }
        true
    }

    /// The host is asked; returns what tells when it has answered, and until when it can.
    pub(super) fn asked(&mut self, kid: Kid, number: u64, now: Instant) -> Found {
        let (answered, until) = (Arc::new(Notify::new()), now + self.patience);
        self.asked.insert(kid, Asked { number, until, answered: Arc::clone(&answered) });
        Found::Asked(answered, until)
    }

    /// The host has answered the question of this number.
    pub(super) fn settle(&mut self, kid: Kid, number: u64, said: Said, now: Instant) {
        let asked = self.asked.remove(&kid);
        if let Some(asked) = &asked {
            asked.answered.notify_waiters();
        }
        // Another one has been put since: what comes late counts for nothing.
        if asked.is_none_or(|asked| asked.number != number) {
            return;
        }
        match said {
            Said::Key(key) => {
                self.unknown.remove(&kid);
                make_room(&mut self.known, MAX_KNOWN, |(_, until)| *until);
                self.known.insert(kid, (Arc::new(key), now + self.ttl));
            }
            Said::Unknown => {
                self.known.remove(&kid);
                self.refuse(kid, false, now + UNKNOWN);
            }
            Said::Failed => self.refuse(kid, true, now + FAILED),
        }
    }

    /// Nobody answers any more.
    pub(super) fn close(&mut self) {
        for asked in std::mem::take(&mut self.asked).into_values() {
            asked.answered.notify_waiters();
        }
    }

    fn refuse(&mut self, kid: Kid, failed: bool, until: Instant) {
        make_room(&mut self.unknown, MAX_UNKNOWN, |(_, until)| *until);
        self.unknown.insert(kid, (failed, until));
    }
}

/// Room for one more: whatever is soonest out of date goes.
fn make_room<V>(map: &mut HashMap<Kid, V, RandomState>, max: usize, until: impl Fn(&V) -> Instant) {
    if map.len() >= max
        && let Some(first) = map.iter().min_by_key(|(_, value)| until(value)).map(|(kid, _)| kid.clone())
    {
        map.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use wse_crypto::jwt::Algorithm;

    use super::*;

    fn key() -> Said {
        Said::Key(JwtKey::new(Algorithm::HS256, &[7; 32]).unwrap())
    }

    fn kid(name: &str) -> Kid {
        Some(name.into())
    }

    fn ask(keys: &mut Keys, name: &str, number: u64, now: Instant) -> bool {
        let may = keys.may_ask(&kid(name), now);
        if may {
            keys.asked(kid(name), number, now);
        }
        may
    }

    #[test]
    fn a_key_is_kept_for_its_time_and_asked_for_once() {
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        let mut keys = Keys::new(Duration::from_secs(600), Duration::from_secs(5), start);
        assert!(keys.look(&kid("a"), start).is_none() && ask(&mut keys, "a", 1, start));
        assert!(matches!(keys.look(&kid("a"), after(4)), Some(Found::Asked(_, until)) if until == after(5)));
        keys.settle(kid("a"), 1, key(), start);
        assert!(matches!(keys.look(&kid("a"), after(599)), Some(Found::Key(_))));
        assert!(keys.look(&kid("a"), after(600)).is_none() && keys.look(&None, start).is_none());
        // What a question brings that another has taken the place of counts for nothing.
        assert!(ask(&mut keys, "b", 2, start));
        keys.asked(kid("b"), 3, after(5));
        keys.settle(kid("b"), 2, key(), after(6));
        assert!(!matches!(keys.look(&kid("b"), after(6)), Some(Found::Key(_))));
    }

    #[test]
    fn a_question_without_an_answer_is_a_failure_from_the_moment_it_is_late() {
        let start = Instant::now();
        let late = start + Duration::from_secs(5);
        let mut keys = Keys::new(Duration::from_secs(600), Duration::from_secs(5), start);
        assert!(ask(&mut keys, "a", 1, start) && ask(&mut keys, "b", 2, start + FAILED));
        assert!(keys.expire(late - Duration::from_millis(1)).is_empty());
        assert_eq!((keys.expire(late), keys.expire(late)), (vec![1], vec![]));
        assert!(matches!(keys.look(&kid("a"), late), Some(Found::Unsaid)));
        assert!(matches!(keys.look(&kid("b"), late), Some(Found::Asked(..))), "each has its own time");
        // Nobody may have looked until then.
        assert_eq!(keys.expire(late + 3 * FAILED), [2]);
        assert!(keys.look(&kid("a"), late + FAILED).is_none() && keys.look(&kid("b"), late + 3 * FAILED).is_none());
        assert!(ask(&mut keys, "a", 3, late + FAILED));
    }

    #[test]
    fn a_name_nobody_knows_is_not_asked_about_for_a_while() {
        let start = Instant::now();
        let mut keys = Keys::new(Duration::from_secs(600), Duration::from_secs(5), start);
        for (said, after, unsaid) in [(Said::Unknown, UNKNOWN, false), (Said::Failed, FAILED, true)] {
            assert!(ask(&mut keys, "a", 1, start));
            keys.settle(kid("a"), 1, said, start);
            let before = keys.look(&kid("a"), start + after - Duration::from_millis(1));
            assert!(matches!((before, unsaid), (Some(Found::Unknown), false) | (Some(Found::Unsaid), true)));
            assert!(keys.look(&kid("a"), start + after).is_none());
        }
    }

    #[test]
    fn a_flood_of_names_asks_little_and_costs_no_key() {
        let start = Instant::now();
        let mut keys = Keys::new(Duration::from_secs(600), Duration::from_secs(5), start);
        assert!(ask(&mut keys, "good", 1, start));
        keys.settle(kid("good"), 1, key(), start);
        let mut questions = 0;
        for name in 0..100_000_u64 {
            let now = start + Duration::from_millis(name / 10);
            if keys.look(&kid(&name.to_string()), now).is_none() && ask(&mut keys, &name.to_string(), name + 2, now) {
                questions += 1;
                keys.settle(kid(&name.to_string()), name + 2, Said::Unknown, now);
            }
        }
        assert!((100..=140).contains(&questions), "{questions} in 10 s");
        assert!(keys.unknown.len() <= MAX_UNKNOWN && keys.asked.is_empty());
        assert!(matches!(keys.look(&kid("good"), start + Duration::from_secs(10)), Some(Found::Key(_))));
        // While the host does not answer either.
        let later = start + Duration::from_secs(100);
        let asked = (0..1000).filter(|name| ask(&mut keys, &format!("x{name}"), *name, later)).count();
        assert_eq!(asked, MAX_ASKED);
        let out_of_date = start + Duration::from_secs(600);
        assert!(keys.look(&kid("good"), out_of_date).is_none() && ask(&mut keys, "good", 9, out_of_date));
        for name in 0..1000 {
            keys.asked(kid(&format!("k{name}")), name, later);
            keys.settle(kid(&format!("k{name}")), name, key(), later);
        }
        assert_eq!(keys.known.len(), MAX_KNOWN);
    }
}
