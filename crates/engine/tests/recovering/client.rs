//! One client: the algorithm of the published ones (positions, gaps, what replies do to them), and everything that must never
//! happen to it. Owns no connection and asks nobody: what it wants is what [`Client::on_frame`] returns.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;
use wse_engine::{Position, TopicOutcome};

use super::{COVERED, TOPICS};

/// Which publication it is: its publisher and its number.
pub(crate) type Publication = (u64, u64);
/// Topic, epoch and offset -> what was published there: all clients see the same.
pub(crate) type Truth = HashMap<(usize, u32, u64), Publication>;

/// What a client knows, and what it was promised.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Topics it has subscribed to by name.
    pub(crate) held: BTreeSet<usize>,
    /// It has subscribed to the pattern.
    pub(crate) pattern: bool,
    /// What its ACL has denied since before anything that it may yet be sent.
    pub(crate) denied: BTreeSet<usize>,
    /// It is owed so little that nothing of it is ever lost: a hole in what it holds is one that it need not repair.
    roomy: bool,
    /// Topics in which it may see a hole all the same, until it is told where they are.
    excused: BTreeSet<usize>,
    known: BTreeMap<usize, Position>,
    /// Topics it was told to be incomplete in without a position: the next frame tells it.
    unplaced: BTreeSet<usize>,
    /// Epochs that are over, as far as it knows.
    past: HashSet<(usize, u32)>,
    /// Replays up to these offsets are on their way.
    promised: BTreeMap<usize, u64>,
    /// From here on it was replayed by this connection.
    replayed: BTreeMap<usize, Position>,
    delivered: HashSet<(usize, Publication)>,
    newest: HashMap<(usize, u64), u64>,
}

impl Client {
    pub(crate) fn new(roomy: bool) -> Self {
        Self { roomy, ..Self::default() }
    }

    /// Where it is in a topic.
    pub(crate) fn position(&self, topic: usize) -> Option<Position> {
        self.known.get(&topic).copied()
    }

    /// Whether it is to get what is published to a topic.
    pub(crate) fn holds(&self, topic: usize) -> bool {
        self.held.contains(&topic) || (self.pattern && COVERED.contains(&topic))
    }

    /// Its connection is gone: what was on its way is not.
    pub(crate) fn cut(&mut self) {
        self.promised.clear();
        self.replayed.clear();
        self.held.clear();
        self.pattern = false;
        self.denied.clear();
    }

    /// Something of this topic may be kept from it.
    pub(crate) fn excuse(&mut self, topic: usize) {
        self.excused.insert(topic);
    }

    /// It has ended its subscription: what was promised may be cut off.
    pub(crate) fn leave(&mut self, topic: usize) {
        self.held.remove(&topic);
        self.excuse(topic);
        self.promised.remove(&topic);
        self.replayed.remove(&topic);
    }

    /// It is told what became of a topic it asked for. `from`: what it had said it has.
    pub(crate) fn on_reply(&mut self, topic: usize, from: Option<Position>, outcome: TopicOutcome) {
        let TopicOutcome { position, recovered, count } = outcome;
        let known = self.position(topic);
        if position.is_some() && !self.denied.contains(&topic) {
            self.excused.remove(&topic);
        }
        if recovered {
            let (from, to) = (from.expect("it had asked"), position.expect("a position"));
            assert_eq!(from.epoch, to.epoch, "{topic}: recovered across epochs");
            // What was replayed to it a moment ago is on its way still.
            let again = count == 0 && self.replayed.get(&topic) == Some(&from);
            let all = to.offset.checked_sub(from.offset);
            assert!(again || Some(u64::from(count)) == all, "{topic}: not all of it, {from:?} {to:?} {count}");
            if count > 0 {
                self.replayed.insert(topic, from);
            }
            self.promised.insert(topic, to.offset);
            return;
        }
        assert_eq!(count, 0, "{topic}: partly recovered");
        self.promised.remove(&topic);
        let Some(to) = position else {
            self.unplaced.insert(topic);
            return;
        };
        if let Some(known) = known {
            assert!(known.epoch != to.epoch || known.offset <= to.offset, "{topic}: sent back, {known:?} {to:?}");
            if known.epoch != to.epoch {
                self.past.insert((topic, known.epoch));
            }
        }
        self.unplaced.remove(&topic);
        self.known.insert(topic, to);
    }

    /// A frame has come. `Some`: it has to ask for this topic from this position on.
    pub(crate) fn on_frame(&mut self, frame: &Value, truth: &mut Truth) -> Option<(usize, Position)> {
        let topic = TOPICS.iter().position(|topic| frame["tp"] == *topic);
        let topic = topic.unwrap_or_else(|| panic!("no stamp of a known topic: {frame}"));
        let epoch = u32::from_str_radix(frame["e"].as_str().expect("an epoch"), 16).expect("hexadecimal");
        let offset = frame["o"].as_u64().expect("an offset");
        let at = Position { epoch, offset };
        assert!(!self.denied.contains(&topic), "{topic}: denied, and sent: {at:?}");
        if self.past.contains(&(topic, epoch)) {
            return None;
        }
        let publication = (frame["c"] != "WSE").then(|| (frame["by"].as_u64().unwrap(), frame["n"].as_u64().unwrap()));
        if let Some(publication) = publication {
            let first = *truth.entry((topic, epoch, offset)).or_insert(publication);
            assert_eq!(first, publication, "{topic}: two publications at {at:?}");
        }
        match self.known.get_mut(&topic) {
            None => {}
            Some(known) if known.epoch != epoch => {
                assert!(self.unplaced.contains(&topic), "{topic}: a hole nobody has declared, {known:?} {at:?}");
                self.past.insert((topic, known.epoch));
            }
            Some(known) if offset <= known.offset => return None,
            Some(known) if offset > known.offset + 1 => {
                let last = *known;
                return match self.promised.get(&topic) {
                    // Was on its way before the replay, which is yet to come.
                    Some(end) if last.offset < *end && offset <= *end => None,
                    Some(end) if last.offset < *end => panic!("{topic}: promised up to {end}, {last:?} {at:?}"),
                    _ => {
                        let lost = !self.roomy || self.excused.contains(&topic) || !self.holds(topic);
                        assert!(lost, "{topic}: a hole where nothing is lost, {last:?} {at:?}");
                        Some((topic, last))
                    }
                };
            }
            Some(_) => {}
        }
        // What was on its way when the host was told tells nothing of where it is since.
        if self.known.insert(topic, at).is_none_or(|before| before.epoch != epoch) {
            self.unplaced.remove(&topic);
        }
        if let Some(publication) = publication {
            self.deliver(topic, publication);
        }
        None
    }

    /// The application gets a publication.
    fn deliver(&mut self, topic: usize, publication: Publication) {
        assert!(self.delivered.insert((topic, publication)), "{topic}: {publication:?} twice");
        let newest = self.newest.entry((topic, publication.0)).or_default();
        assert!(*newest < publication.1, "{topic}: {publication:?} behind {newest}");
        *newest = publication.1;
    }
}
