//! Questions to the host about handshakes: who may in. One bounded list of those that wait, taken and answered in batches, with one
//! wake for many. Knows no socket: what an answer means for one is `net::parked`'s.

mod answer;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::admission::Place;
use crate::config::Config;

pub use answer::{AnswerError, Fault};
pub(crate) use answer::{Ruling, Terms};

use answer::{Judged, Said};

/// Questions the host takes at once: it has other things to do in between.
const TAKE: usize = 256;
/// Bytes of questions after which no further one is added to those.
const TAKE_BYTES: usize = 256 * 1024;

/// Called, from any thread, when there is something to take.
type Wake = Arc<dyn Fn() + Send + Sync>;

/// The questions of one engine.
pub(crate) struct Asking {
    /// Handshakes that may wait for an answer.
    max: usize,
    /// Those that do, or have not been told theirs yet.
    parked: Arc<AtomicUsize>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the next question, from 1.
    last: u64,
    /// Who waits for the answer to each.
    open: HashMap<u64, oneshot::Sender<Ruling>, foldhash::fast::RandomState>,
    /// Those the host has not taken, in their order.
    waiting: BTreeMap<u64, String>,
    /// Those it has taken and nobody waits for any more; as many as there are handshakes at most, it takes them with the next.
    gone: Vec<u64>,
    wake: Option<Wake>,
    /// The host has found nothing and is woken by the next.
    asleep: bool,
    /// Nobody is asked any more.
    closed: bool,
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
        Self { max: config.max_waiting, parked: Arc::default(), state: Mutex::default() }
    }

    /// A place for one more handshake that waits; `None` when all are taken.
    pub(crate) fn park(&self) -> Option<Place> {
        Place::take_below(&self.parked, self.max)
    }

    /// Handshakes that wait for an answer, or have not been told theirs yet.
    pub(crate) fn parked(&self) -> usize {
        self.parked.load(Relaxed)
    }

    /// Puts a question: the members of a JSON object, without its braces.
    pub(crate) fn ask(self: &Arc<Self>, members: &str) -> Question {
        let (tell, answer) = oneshot::channel();
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        let mut wake = None;
        // Otherwise the sender is dropped here, and the answer is that there is none.
        if !state.closed {
            state.open.insert(number, tell);
            state.waiting.insert(number, format!("{{\"id\":{number},{members}}}"));
            wake = state.rouse();
        }
        drop(state);
        ring(wake);
        Question { asking: Arc::clone(self), number, answer }
    }

    /// Nobody waits for this one any more: the host need not begin with it, or learns that it may end.
    fn forget(&self, number: u64) {
        let mut state = self.state.lock();
        // Answered ones are not there.
        if state.open.remove(&number).is_none() || state.waiting.remove(&number).is_some() {
            return;
        }
        state.gone.push(number);
        let wake = state.rouse();
        drop(state);
        ring(wake);
    }

    /// Sets what wakes the host; `None`: it takes none any more.
    pub(crate) fn on_questions(&self, wake: Option<Wake>) {
        let mut state = self.state.lock();
        state.wake = wake;
        state.asleep = true;
        let due = !state.waiting.is_empty() || !state.gone.is_empty();
        let wake = if due { state.rouse() } else { None };
        drop(state);
        ring(wake);
    }

    /// Some of what waits, as a JSON object: `asked`, the questions, and `gone`, the numbers of those that were taken before and
    /// need no answer any more. `None`: nothing waits, and the next wakes the host once.
    pub(crate) fn take(&self) -> Option<String> {
        let mut state = self.state.lock();
        if state.waiting.is_empty() && state.gone.is_empty() {
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
        text.push_str("],\"gone\":[");
        let gone: Vec<String> = std::mem::take(&mut state.gone).iter().map(u64::to_string).collect();
        text.push_str(&gone.join(","));
        text.push_str("]}");
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
            let ruling = match judged {
                Judged::Ruling(ruling) => ruling,
                Judged::Fault { path, reason } => {
                    faults.push(Fault { number, path, reason });
                    Ruling::Failed
                }
            };
            let tell = self.state.lock().open.remove(&number);
            // Whoever waited may be gone.
            let _ = tell.map(|tell| tell.send(ruling));
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
        let wake = state.rouse();
        drop(state);
        ring(wake);
        // Dropped, hence told, without the lock.
        drop(open);
    }
}

impl State {
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
