//! Questions to the host: who may in, what an open connection may have and is told. One bounded list of those that wait, taken and
//! answered in batches, with one wake for many. Knows no socket: what an answer means for one is `net::parked`'s and the shard's.

mod answer;
mod inquiry;
mod keys;
mod quota;
mod said;
mod seats;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout_at;
use wse_crypto::jwt::{Algorithm, JwtKey};

use crate::config::Config;

pub use answer::{AnswerError, Fault};
pub(crate) use answer::{Ruling, Terms};
pub(crate) use inquiry::{Inquiry, Unasked};
pub(crate) use keys::{Found, Kid};
pub(crate) use quota::Subject;
pub(crate) use said::{Answer, Answered, Tell};
pub(crate) use seats::Seat;

use answer::{Judged, Said};
use keys::Keys;
use quota::Quotas;
use seats::Seats;

/// Questions the host takes at once: it has other things to do in between.
const TAKE: usize = 256;
/// Bytes of questions after which no further one is added to those.
const TAKE_BYTES: usize = 256 * 1024;

/// Called, from any thread, when there is something to take.
type Wake = Arc<dyn Fn() + Send + Sync>;

/// The questions of one engine.
pub(crate) struct Asking {
    /// Of handshakes that wait for an answer, or have not been told theirs yet.
    seats: Arc<Seats>,
    /// What keys are for, where the host is asked for them.
    algorithm: Option<Algorithm>,
    /// Of questions about open connections.
    quotas: Quotas,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the next question, from 1.
    last: u64,
    /// Who waits for the answer to each.
    open: HashMap<u64, Open, foldhash::fast::RandomState>,
    /// The keys it was asked for.
    keys: Option<Keys>,
    /// Those the host has not taken, in their order.
    waiting: BTreeMap<u64, String>,
    /// Those it has taken and nobody waits for any more; as many as it has taken and not answered at most, it takes them with the next.
    gone: Vec<u64>,
    /// Those about keys and open connections it has taken and not answered in time; as many as are asked at once at most, or it does
    /// not look at all.
    late: Vec<u64>,
    wake: Option<Wake>,
    /// The host has found nothing and is woken by the next.
    asleep: bool,
    /// Nobody is asked any more.
    closed: bool,
}

/// Who waits for an answer.
enum Open {
    /// One handshake.
    Upgrade(oneshot::Sender<Ruling>),
    /// Everybody whose token names this key.
    Key(Kid),
    /// An open connection.
    Connection(Tell),
}

/// A question that was put. Dropping it takes it back.
pub(crate) struct Question {
    asking: Arc<Asking>,
    number: u64,
    answer: oneshot::Receiver<Ruling>,
}

impl Question {
    /// The answer. [`Ruling::Closed`]: there will be none.
    pub(crate) async fn answered(&mut self) -> Ruling {
        (&mut self.answer).await.unwrap_or(Ruling::Closed)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.asking.forget(self.number);
    }
}

impl Asking {
    /// What `config` says about them.
    pub(crate) fn new(config: &Config) -> Self {
        let auth = config.auth.as_ref().and_then(|auth| Some((auth.verifier.algorithm(), auth.ask_keys?)));
        let keys = auth.map(|(_, ttl)| Keys::new(ttl, config.answer_timeout, Instant::now()));
        Self {
            seats: Arc::new(Seats::new(config.max_waiting)),
            algorithm: auth.map(|(algorithm, _)| algorithm),
            quotas: Quotas::new(config),
            state: Mutex::new(State { keys, ..State::default() }),
        }
    }

    /// A seat for one more handshake that waits; `None` when all are taken, or as many as one address may have. `address`:
    /// whose it is, `None` for one who stands for many.
    pub(crate) fn park(&self, address: Option<IpAddr>) -> Option<Seat> {
        self.seats.take(address)
    }

    /// Handshakes that wait for an answer, or have not been told theirs yet.
    pub(crate) fn parked(&self) -> usize {
        self.seats.taken()
    }

    /// Puts a question: the members of a JSON object, without its braces.
    pub(crate) fn ask(self: &Arc<Self>, members: &str) -> Question {
        let (tell, answer) = oneshot::channel();
        let mut state = self.state.lock();
        // Where nobody is asked any more the sender is dropped, and the answer is that there is none.
        let (number, wake) = state.put(members, Open::Upgrade(tell));
        drop(state);
        ring(wake);
        Question { asking: Arc::clone(self), number, answer }
    }

    /// Puts a question about an open connection; `None`: nobody is asked any more.
    fn put_for_connection(&self, members: &str, tell: Tell) -> Option<u64> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        let (number, wake) = state.put(members, Open::Connection(tell));
        drop(state);
        ring(wake);
        Some(number)
    }

    fn key_of(&self, bytes: &[u8]) -> Result<keys::Said, String> {
        let algorithm = self.algorithm.ok_or("no key was asked for")?;
        JwtKey::new(algorithm, bytes).map(keys::Said::Key).map_err(|error| error.reason.into())
    }

    /// What is known about a key, asking nobody. `None`: nothing.
    pub(crate) fn known_key(&self, kid: &Kid) -> Option<Found> {
        let found = self.state.lock().keys.as_ref()?.look(kid, Instant::now());
        found.filter(|found| !matches!(found, Found::Asked(..)))
    }

    /// The key of this name, asking the host unless it has been asked already: one question serves all who wait. `None`: it has
    /// not answered in time.
    pub(crate) async fn key(&self, kid: &Kid) -> Option<Found> {
        loop {
            match self.find_key(kid) {
                Found::Asked(answered, until) => {
                    let mut told = std::pin::pin!(answered.notified());
                    told.as_mut().enable();
                    // It may have been answered in between.
                    if matches!(self.find_key(kid), Found::Asked(again, _) if Arc::ptr_eq(&again, &answered))
                        && timeout_at(until.into(), told).await.is_err()
                    {
                        let wake = self.state.lock().expire(Instant::now());
                        ring(wake);
                        return None;
                    }
                }
                found => return Some(found),
            }
        }
    }

    /// What is known about a key, asking the host unless it has been asked already.
    pub(crate) fn find_key(&self, kid: &Kid) -> Found {
        let now = Instant::now();
        let mut state = self.state.lock();
        let late = state.expire(now);
        let (found, wake) = state.find_key(kid, now);
        drop(state);
        ring(late.or(wake));
        found
    }

    /// Nobody waits for this one any more: the host need not begin with it, or learns that it may end.
    fn forget(&self, number: u64) {
        let mut state = self.state.lock();
        let wake = if state.withdraw(number) { state.rouse() } else { None };
        drop(state);
        ring(wake);
    }

    /// The host has not answered this one in time. Where it has taken it, it hears of that.
    fn give_up(&self, number: u64) {
        let mut state = self.state.lock();
        let taken = state.open.remove(&number).is_some() && state.waiting.remove(&number).is_none();
        state.late.extend(taken.then_some(number));
        let wake = if taken { state.rouse() } else { None };
        drop(state);
        ring(wake);
    }

    /// Sets what wakes the host; `None`: it takes none any more.
    pub(crate) fn on_questions(&self, wake: Option<Wake>) {
        let mut state = self.state.lock();
        state.wake = wake;
        state.asleep = true;
        let due = !state.waiting.is_empty() || !state.gone.is_empty() || !state.late.is_empty();
        let wake = if due { state.rouse() } else { None };
        drop(state);
        ring(wake);
    }

    /// Some of what waits, as a JSON object: `asked`, the questions; of those that were taken before the numbers, `gone`: nobody
    /// waits for an answer any more, and `late`: a key was not named, or a question about an open connection not answered, in time. `None`: nothing waits, and the next wakes the host once.
    pub(crate) fn take(&self) -> Option<String> {
        let mut state = self.state.lock();
        if state.waiting.is_empty() && state.gone.is_empty() && state.late.is_empty() {
            state.asleep = true;
            return None;
        }
        let mut text = String::from("{\"asked\":[");
        let mut count = 0;
        while count < TAKE
            && text.len() < TAKE_BYTES
            && let Some((_, question)) = state.waiting.pop_first()
        {
            if count > 0 {
                text.push(',');
            }
            text.push_str(&question);
            count += 1;
        }
        let list = |numbers: &mut Vec<u64>| {
            let numbers: Vec<String> = std::mem::take(numbers).iter().map(u64::to_string).collect();
            numbers.join(",")
        };
        let (gone, late) = (list(&mut state.gone), list(&mut state.late));
        let _ = write!(text, "],\"gone\":[{gone}],\"late\":[{late}]}}");
        Some(text)
    }

    /// Answers, a JSON array (`ts/src/server/upgrades.ts`), to those who wait. Returns what is wrong with some of them: whoever
    /// waited for such a one is told that the host has failed.
    ///
    /// # Errors
    /// The text is no list of answers.
    pub(crate) fn answer(&self, text: &str) -> Result<Vec<Fault>, AnswerError> {
        let mut faults = Vec::new();
        for Said { number, judged } in answer::parse(text)? {
            let mut fault = |path, reason| faults.push(Fault { number, path, reason });
            let mut state = self.state.lock();
            match (state.open.remove(&number), judged) {
                // Whoever waited is gone, or hears it for the second time.
                (None, _) => {}
                (Some(Open::Key(kid)), judged) => {
                    let said = match judged {
                        Judged::Key(None) => keys::Said::Unknown,
                        Judged::Key(Some(bytes)) => self.key_of(&bytes).unwrap_or_else(|reason| {
                            fault("key".into(), reason);
                            keys::Said::Failed
                        }),
                        Judged::Ruling(_) | Judged::Answer(_) | Judged::Fault { .. } => keys::Said::Failed,
                    };
                    if let Some(keys) = &mut state.keys {
                        keys.settle(kid, number, said, Instant::now());
                    }
                }
                (Some(Open::Upgrade(tell)), judged) => {
                    drop(state);
                    let ruling = match judged {
                        Judged::Ruling(ruling) => ruling,
                        Judged::Key(_) | Judged::Answer(_) => Ruling::Failed,
                        Judged::Fault { path, reason } => {
                            fault(path, reason);
                            Ruling::Failed
                        }
                    };
                    // Its end may be gone at this moment.
                    let _ = tell.send(ruling);
                }
                (Some(Open::Connection(tell)), judged) => {
                    drop(state);
                    let answer = match judged {
                        Judged::Answer(answer) => answer,
                        Judged::Key(_) | Judged::Ruling(_) => Answer::Failed,
                        Judged::Fault { path, reason } => {
                            fault(path, reason);
                            Answer::Failed
                        }
                    };
                    tell(number, answer);
                }
            }
        }
        Ok(faults)
    }

    /// Nobody is asked any more; who waits is told so.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        let open = std::mem::take(&mut state.open);
        state.gone.extend(open.keys().filter(|number| !waiting.contains_key(number)));
        if let Some(keys) = &mut state.keys {
            keys.close();
        }
        let wake = state.rouse();
        drop(state);
        ring(wake);
        // Told, some by being dropped, without the lock.
        for (number, open) in open {
            if let Open::Connection(tell) = open {
                tell(number, Answer::Closed);
            }
        }
    }
}

impl State {
    /// Puts a question, the members of a JSON object without its braces. Returns its number, and what wakes the host for it.
    fn put(&mut self, members: &str, open: Open) -> (u64, Option<Wake>) {
        self.last += 1;
        let number = self.last;
        if self.closed {
            return (number, None);
        }
        self.open.insert(number, open);
        self.waiting.insert(number, format!("{{\"id\":{number},{members}}}"));
        (number, self.rouse())
    }

    /// What is known about a key, or that the host is asked for it, and what wakes it for that.
    fn find_key(&mut self, kid: &Kid, now: Instant) -> (Found, Option<Wake>) {
        let Self { keys: Some(keys), closed: false, .. } = &mut *self else { return (Found::Unsaid, None) };
        if let Some(found) = keys.look(kid, now) {
            return (found, None);
        }
        if !keys.may_ask(kid, now) {
            return (Found::Unsaid, None);
        }
        let name = serde_json::Value::from(kid.as_deref());
        let (number, wake) = self.put(&format!("\"kind\":\"key\",\"kid\":{name}"), Open::Key(kid.clone()));
        let found = self.keys.as_mut().map(|keys| keys.asked(kid.clone(), number, now));
        (found.unwrap_or(Found::Unsaid), wake)
    }

    /// Gives up what the host has not answered in time; returns what wakes it to hear of that.
    fn expire(&mut self, now: Instant) -> Option<Wake> {
        let late = self.keys.as_mut()?.expire(now);
        for number in late {
            // One it has not even taken was never asked.
            if self.open.remove(&number).is_some() && self.waiting.remove(&number).is_none() {
                self.late.push(number);
            }
        }
        if self.late.is_empty() { None } else { self.rouse() }
    }

    /// Takes a question back; whether the host has it and is to hear of that.
    fn withdraw(&mut self, number: u64) -> bool {
        // Answered ones are not there.
        if self.open.remove(&number).is_none() || self.waiting.remove(&number).is_some() {
            return false;
        }
        self.gone.push(number);
        true
    }

    /// What wakes the host, if it sleeps.
    fn rouse(&mut self) -> Option<Wake> {
        let wake = self.wake.clone()?;
        std::mem::take(&mut self.asleep).then_some(wake)
    }
}

fn ring(wake: Option<Wake>) {
    if let Some(wake) = wake {
        wake();
    }
}

#[cfg(test)]
mod tests;
