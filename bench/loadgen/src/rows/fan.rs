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
    All = 0,
    OneIn64 = 63,
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
    place: Vec<u32>,
    /// A subscriber that is not counted: the one that stops reading.
    pub(crate) ignored: Option<usize>,
    pub(crate) delivered: u64,
    pub(crate) gaps: u64,
    pub(crate) missed: u64,
    pub(crate) disorder: u64,
    pub(crate) stray: u64,
    /// Latency of messages whose sequence number has none of these bits, sent at or after `since`.
    skip: u64,
    pub(crate) since: u64,
    pub(crate) latency: Latency,
}

impl Fan {
    pub(crate) fn new(args: &Args, plan: &mut Plan, sample: Sample) -> Outcome<Self> {
        if args.size < envelope::MIN_SIZE || args.size > 60_000 {
            return Err(format!("--size must be {} to 60000", envelope::MIN_SIZE));
        }
        let header = frame::text_header(args.size).ok_or("--size must be above 125")?;
        let listed = plan.listed.take();
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
            delivered: 0,
            gaps: 0,
            missed: 0,
            disorder: 0,
            stray: 0,
            skip: sample as u64,
            since: u64::MAX,
            latency: Latency::new(),
        })
    }

    /// Below this sequence number every counted subscriber has everything.
    pub(crate) fn complete(&self) -> u64 {
        let counted = self.next.iter().enumerate().filter(|(slot, _)| Some(*slot) != self.ignored);
        counted.map(|(_, next)| *next).min().unwrap_or(0)
    }

    #[inline]
    fn advance(&mut self, slot: usize) {
        match &self.listed {
            None => self.next[slot] += 1,
            Some(listed) => {
                let own = &listed[slot - 1];
                let at = self.place[slot] as usize;
                let (next, round) = if at + 1 == own.len() { (0, self.topics) } else { (at + 1, 0) };
                self.next[slot] = self.next[slot] + round + u64::from(own[next]) - u64::from(own[at]);
                self.place[slot] = next as u32;
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
            self.missed += 1;
            self.advance(slot);
        }
        if self.next[slot] == seq {
            self.advance(slot);
        } else {
            self.disorder += 1; // a topic this connection never asked for
        }
    }

    #[inline]
    fn sample(&mut self, now: u64, seq: u64, sent: u64) {
        if sent >= self.since && seq & self.skip == 0 {
            self.latency.record(now.saturating_sub(sent));
        }
    }

    /// Everything sent must have arrived or be reported as dropped; what is neither would still be in flight.
    pub(crate) fn account(&self, report: Report, published: u64, dropped: u64) -> Report {
        let sent = published * self.per_message;
        let in_flight = sent as i64 - self.delivered as i64 - dropped as i64;
        with(
            report,
            json!({
                "published": published,
                "sent": sent,
                "delivered": self.delivered,
                "dropped": dropped,
                "in_flight": in_flight,
                "gaps": self.gaps,
                "missed": self.missed,
                "disorder": self.disorder,
                "stray": self.stray,
                "accounted": in_flight == 0 && self.disorder == 0 && self.stray == 0 && self.missed == dropped,
                "latency_us": self.latency.report(),
            }),
        )
    }
}

impl Handler for Fan {
    #[inline]
    fn bulk(&mut self, net: &mut Net, slot: usize, bytes: &[u8]) -> usize {
        if Some(slot) == self.ignored || slot >= self.next.len() {
            return 0;
        }
        let mut at = 0;
        for whole in bytes.chunks_exact(4 + self.size) {
            let (header, payload) = whole.split_at(4);
            if header != self.header {
                break;
            }
            let Some(seq) = envelope::sequence(payload) else { break };
            self.count(slot, seq);
            if seq & self.skip == 0
                && let Some(sent) = envelope::sent_at(payload)
            {
                self.sample(net.now, seq, sent);
            }
            at += whole.len();
        }
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
                self.sample(net.now, seq, sent);
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
