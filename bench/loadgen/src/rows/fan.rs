//! Counting deliveries: order, gaps and latency of every subscriber, cheap enough for tens of millions a second.

use serde_json::json;

use crate::args::{Args, Outcome};
use crate::envelope;
use crate::frame;
use crate::latency::Latency;
use crate::net::{Handler, Net};
use crate::report::{Report, with};
use crate::rows::plan::Plan;

/// Which messages' latency is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sample {
    All,
    /// One delivery in 64; where there are many subscribers, of every eighth message at one subscriber in eight, so that a
    /// peer which sends few messages to many is looked at too.
    OneIn64,
}

impl Sample {
    /// Bits of the sequence number and of the subscriber that decide.
    fn masks(self, connections: usize) -> (u64, u64) {
        match self {
            Self::All => (0, 0),
            Self::OneIn64 if connections >= 64 => (7, 7),
            Self::OneIn64 => (63, 0),
        }
    }
}

/// State of all subscribers of a row. Slot 0 is the control connection and has no place here.
#[derive(Debug)]
pub(crate) struct Fan {
    header: [u8; 4],
    size: usize,
    topics: u64,
    per_message: u64,
    listed: Option<Vec<Vec<u32>>>,
    /// Per slot: the sequence number that must come next, and (with listed topics) its place in the list.
    next: Vec<u64>,
    place: Vec<usize>,
    /// A subscriber that is not counted: the one that stops reading.
    pub(crate) ignored: Option<usize>,
    /// A subscriber whose figures stand apart: the one that reads slower than the others.
    apart: Option<usize>,
    apart_delivered: u64,
    apart_missed: u64,
    /// Deliveries to all others.
    pub(crate) delivered: u64,
    pub(crate) gaps: u64,
    pub(crate) missed: u64,
    pub(crate) disorder: u64,
    pub(crate) stray: u64,
    /// Latency of messages whose sequence number has none of these bits, that arrive at or after `since` and were sent before
    /// `until`: neither what was already on its way nor what comes late is left out.
    skip: u64,
    skip_slots: u64,
    pub(crate) since: u64,
    pub(crate) until: u64,
    pub(crate) latency: Latency,
}

impl Fan {
    pub(crate) fn new(args: &Args, plan: &mut Plan, sample: Sample) -> Outcome<Self> {
        if args.size < envelope::MIN_SIZE || args.size > 60_000 {
            return Err(format!("--size must be {} to 60000", envelope::MIN_SIZE));
        }
        let header = frame::text_header(args.size).ok_or("--size must be above 125")?;
        let listed = plan.listed.take();
        let (skip, skip_slots) = sample.masks(args.connections);
        let first = |slot: usize| listed.as_ref().map_or(0, |listed| u64::from(listed[slot][0]));
        let next = std::iter::once(u64::MAX).chain((0..args.connections).map(first)).collect();
        Ok(Self {
            header,
            size: args.size,
            topics: plan.topics as u64,
            per_message: plan.per_message,
            next,
            place: vec![0; args.connections + 1],
            listed,
            ignored: None,
            apart: None,
            apart_delivered: 0,
            apart_missed: 0,
            delivered: 0,
            gaps: 0,
            missed: 0,
            disorder: 0,
            stray: 0,
            skip,
            skip_slots,
            since: u64::MAX,
            until: u64::MAX,
            latency: Latency::new(),
        })
    }

    /// Below this sequence number every counted subscriber has everything.
    pub(crate) fn complete(&self) -> u64 {
        let out = [self.ignored, self.apart];
        let counted = self.next.iter().enumerate().filter(|(slot, _)| !out.contains(&Some(*slot)));
        counted.map(|(_, next)| *next).min().unwrap_or(0)
    }

    /// How many messages one send stamp serves: every message looked at has its own.
    pub(crate) fn stamp_every(&self) -> u64 {
        self.skip + 1
    }

    /// Whether the latency of message `seq` at `slot` is looked at.
    #[inline]
    fn looked_at(&self, slot: usize, seq: u64) -> bool {
        seq & self.skip == 0 && (slot as u64 ^ (seq >> 3)) & self.skip_slots == 0
    }

    /// Keeps the figures of `slot` apart from those of the others.
    pub(crate) fn set_apart(&mut self, slot: usize) {
        self.apart = Some(slot);
    }

    /// All deliveries counted, whoever they were for.
    pub(crate) fn seen(&self) -> u64 {
        self.delivered + self.apart_delivered
    }

    /// Whether every subscriber has all of the `published` messages.
    pub(crate) fn has_all(&self, published: u64) -> bool {
        self.complete() >= published && self.apart.is_none_or(|slot| self.next[slot] >= published)
    }

    /// Moves `count` deliveries just counted to where those of `slot` belong.
    #[inline]
    fn settle(&mut self, slot: usize, count: u64) {
        if Some(slot) == self.apart {
            self.delivered -= count;
            self.apart_delivered += count;
        }
    }

    #[inline]
    fn advance(&mut self, slot: usize) {
        match &self.listed {
            None => self.next[slot] += 1,
            Some(listed) => {
                let own = &listed[slot - 1];
                let at = self.place[slot];
                let (next, round) = if at + 1 == own.len() { (0, self.topics) } else { (at + 1, 0) };
                self.next[slot] = self.next[slot] + round + u64::from(own[next]) - u64::from(own[at]);
                self.place[slot] = next;
            }
        }
    }

    /// Counts one delivery.
    #[inline]
    fn count(&mut self, slot: usize, seq: u64) {
        self.delivered += 1;
        if seq != self.next[slot] {
            return self.surprise(slot, seq);
        }
        self.advance(slot);
    }

    #[cold]
    fn surprise(&mut self, slot: usize, seq: u64) {
        if seq < self.next[slot] {
            self.disorder += 1;
            return;
        }
        self.gaps += 1;
        while self.next[slot] < seq {
            if Some(slot) == self.apart {
                self.apart_missed += 1;
            } else {
                self.missed += 1;
            }
            self.advance(slot);
        }
        if self.next[slot] == seq {
            self.advance(slot);
        } else {
            self.disorder += 1; // a topic this connection never asked for
        }
    }

    /// Takes whole frames whose message has a stamp put in front of its members, and returns their
    /// bytes. From its end the message is the same.
    #[inline]
    fn stamped(&mut self, net: &Net, slot: usize, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some((&[first, 126, high, low], rest)) = bytes[at..].split_first_chunk() {
            let len = usize::from(u16::from_be_bytes([high, low]));
            let Some(payload) = rest.get(..len).filter(|payload| first == self.header[0] && payload.len() > self.size)
            else {
                break;
            };
            let message = &payload[payload.len() - self.size..];
            let Some(seq) = envelope::sequence(message) else { break };
            self.count(slot, seq);
            if self.looked_at(slot, seq)
                && let Some(sent) = envelope::sent_at(message)
            {
                self.sample(net.now, slot, seq, sent);
            }
            at += 4 + len;
        }
        at
    }

    #[inline]
    fn sample(&mut self, now: u64, slot: usize, seq: u64, sent: u64) {
        if now >= self.since && sent < self.until && self.looked_at(slot, seq) && Some(slot) != self.apart {
            self.latency.record(now.saturating_sub(sent));
        }
    }

    /// Adds what became of the `published` messages. Once the subscribers have read all there is ([`read_rest`]), what was sent
    /// and has not arrived is dropped: that is counted here, at the receivers. `counted` is what the server says it dropped,
    /// where it says so, and then both must agree.
    ///
    /// [`read_rest`]: crate::rows::flood::read_rest
    pub(crate) fn account(&self, report: Report, published: u64, counted: Option<u64>) -> Report {
        let sent = published * (self.per_message - u64::from(self.apart.is_some()));
        let dropped = sent.cast_signed() - self.delivered.cast_signed();
        let apart = self.apart.map(|_| published.cast_signed() - self.apart_delivered.cast_signed());
        let lost = dropped + apart.unwrap_or(0);
        let agreed = counted.is_none_or(|counted| counted.cast_signed() == lost);
        let report = with(
            report,
            json!({
                "published": published,
                "sent": sent,
                "delivered": self.delivered,
                "dropped": dropped,
                "dropped_by_server": counted,
                "gaps": self.gaps,
                "missed": self.missed,
                "disorder": self.disorder,
                "stray": self.stray,
                "accounted": agreed && dropped >= 0 && self.disorder == 0 && self.stray == 0,
                "latency_us": self.latency.report(),
            }),
        );
        match apart {
            None => report,
            Some(dropped) => with(
                report,
                json!({
                    "slow_delivered": self.apart_delivered,
                    "slow_dropped": dropped,
                    "slow_missed": self.apart_missed,
                }),
            ),
        }
    }
}

impl Handler for Fan {
    #[inline]
    fn bulk(&mut self, net: &mut Net, slot: usize, bytes: &[u8]) -> usize {
        if Some(slot) == self.ignored || slot >= self.next.len() {
            return 0;
        }
        let before = self.delivered;
        let mut at = 0;
        for whole in bytes.chunks_exact(4 + self.size) {
            let (header, payload) = whole.split_at(4);
            if header != self.header {
                break;
            }
            let Some(seq) = envelope::sequence(payload) else { break };
            self.count(slot, seq);
            if self.looked_at(slot, seq)
                && let Some(sent) = envelope::sent_at(payload)
            {
                self.sample(net.now, slot, seq, sent);
            }
            at += whole.len();
        }
        if at < bytes.len() {
            at += self.stamped(net, slot, &bytes[at..]);
        }
        self.settle(slot, self.delivered - before);
        at
    }

    fn text(&mut self, net: &mut Net, slot: usize, payload: &[u8]) {
        if Some(slot) == self.ignored {
            return;
        }
        if slot >= self.next.len() {
            self.stray += 1;
            return;
        }
        match envelope::search(payload) {
            None => self.stray += 1,
            Some((seq, sent)) => {
                self.count(slot, seq);
                self.settle(slot, 1);
                self.sample(net.now, slot, seq, sent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fan(line: &str) -> Fan {
        let args = Args::parse(line.split(' ').map(str::to_owned)).unwrap();
        let mut plan = Plan::new(&args).unwrap();
        Fan::new(&args, &mut plan, Sample::All).unwrap()
    }

    #[test]
    fn gaps_and_disorder_are_seen() {
        let mut fan = fan("fanout-flood --url ws://127.0.0.1:1/ --connections 2");
        for seq in [0, 1, 2, 5, 4, 6] {
            fan.count(1, seq);
        }
        assert_eq!((fan.delivered, fan.gaps, fan.missed, fan.disorder), (6, 1, 2, 1));
        assert_eq!(fan.complete(), 0, "the second subscriber has nothing yet");
        fan.count(2, 0);
        assert_eq!(fan.complete(), 1);
    }

    #[test]
    fn one_in_64_is_looked_at_whatever_the_shape() {
        for connections in [8, 64, 1000] {
            let args = format!("fanout-flood --url ws://127.0.0.1:1/ --connections {connections}");
            let args = Args::parse(args.split(' ').map(str::to_owned)).unwrap();
            let fan = Fan::new(&args, &mut Plan::new(&args).unwrap(), Sample::OneIn64).unwrap();
            let seen = (0..6400_u64).flat_map(|seq| (1..=connections).map(move |slot| (slot, seq)));
            let seen: Vec<_> = seen.filter(|(slot, seq)| fan.looked_at(*slot, *seq)).collect();
            assert_eq!(seen.len(), 100 * connections);
            assert!(seen.iter().all(|(_, seq)| seq.is_multiple_of(fan.stamp_every())), "an old stamp would be read");
            assert!(
                (1..=connections).all(|own| seen.iter().any(|(slot, _)| *slot == own)),
                "each subscriber has its share"
            );
        }
    }

    #[test]
    fn what_has_not_arrived_is_dropped_and_the_slow_one_stands_apart() {
        let mut fan = fan("fanout-flood --url ws://127.0.0.1:1/ --connections 3");
        fan.set_apart(3);
        for seq in 0..4 {
            fan.count(1, seq);
            fan.count(2, seq);
        }
        fan.count(3, 1);
        fan.settle(3, 1);
        assert_eq!((fan.complete(), fan.seen()), (4, 9), "the slow one holds nobody back");
        assert!(!fan.has_all(4));
        let report = fan.account(Report::new(), 5, Some(6));
        assert_eq!((&report["dropped"], &report["slow_dropped"]), (&json!(2), &json!(4)), "the last one never came");
        assert_eq!((&report["missed"], &report["slow_missed"]), (&json!(0), &json!(1)));
        assert_eq!(report["accounted"], true);
        assert_eq!(fan.account(Report::new(), 5, Some(5))["accounted"], false, "the server counted less");
        assert_eq!(fan.account(Report::new(), 5, None)["accounted"], true, "it does not count");
    }

    #[test]
    fn listed_topics_expect_only_their_own_numbers() {
        let mut fan = fan("topics --url ws://127.0.0.1:1/ --connections 4 --topics 6 --per-topic 2");
        let own: Vec<Vec<u64>> =
            fan.listed.as_ref().unwrap().iter().map(|o| o.iter().map(|t| u64::from(*t)).collect()).collect();
        for seq in 0..60 {
            for (at, own) in own.iter().enumerate() {
                if own.contains(&(seq % 6)) {
                    fan.count(at + 1, seq);
                }
            }
        }
        assert_eq!((fan.delivered, fan.gaps, fan.missed, fan.disorder), (120, 0, 0, 0));
        assert!(fan.complete() >= 60);
        let stranger = (0..6).find(|topic| !own[0].contains(topic)).unwrap();
        fan.count(1, 60 + stranger);
        assert_eq!(fan.disorder, 1);
    }
}
