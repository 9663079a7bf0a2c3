//! Everybody comes back at once: `--connections` subscribers of one topic lose their connections, miss `--missed` messages,
//! connect again and recover them, while `--steady` others hear a paced topic. How long until all are live, what memory that
//! takes, and what those who stayed notice of it. `--acl true`: they ask as published clients do, and the engine answers.

use std::collections::HashMap;

use memchr::memmem;
use serde_json::json;

use crate::args::{Args, Outcome};
use crate::envelope;
use crate::latency::Latency;
use crate::net::{Handler, Net};
use crate::report::{Report, message, number, rounded, with};
use crate::rows::fan::{Fan, Sample};
use crate::rows::flood::read_rest;
use crate::rows::paced::Schedule;
use crate::rows::plan::{Plan, subscribe};
use crate::rows::rings::order;
use crate::rows::{ask, drops, nanos, open, report};
use crate::sys;
use crate::usage::{Mark, Peak};

const TOPIC: &str = "storm";
/// How long all may take to be live.
const PATIENCE: u64 = 150_000_000_000;
/// How long the server has to notice that they are gone.
const GONE: u64 = 2_000_000_000;

/// Those who stayed, in slots `1..first`, and those who come back.
#[derive(Debug)]
struct Storm {
    fan: Fan,
    first: usize,
    /// The message each must get next.
    next: Vec<u64>,
    /// How many have all below `goal`.
    done: usize,
    goal: u64,
    ready: usize,
    /// When the last of them was ready or had its last message.
    at: u64,
    repeated: u64,
    missing: u64,
    /// Where each is, as it will say it: JSON.
    positions: HashMap<usize, String>,
    /// What Socket.IO calls each.
    sessions: HashMap<usize, String>,
}

impl Storm {
    /// From now on all wait for the messages below `goal`.
    fn expect(&mut self, goal: u64) {
        (self.goal, self.done) = (goal, 0);
    }

    fn take(&mut self, net: &Net, slot: usize, payload: &[u8]) {
        let Some((seq, _)) = envelope::search(payload) else { return self.meet(slot, payload) };
        let next = &mut self.next[slot - self.first];
        if seq != *next {
            if seq < *next {
                self.repeated += 1
            } else {
                self.missing += 1
            }
            return;
        }
        *next += 1;
        if *next == self.goal {
            self.done += 1;
            self.at = net.now;
        }
        if seq == 0
            && let Some(position) = position(payload)
        {
            self.positions.insert(slot, position);
        }
    }

    /// The greeting of Socket.IO tells a secret by which a connection is known when it returns.
    fn meet(&mut self, slot: usize, payload: &[u8]) {
        if let Some(pid) = message(payload).and_then(|greeting| greeting["pid"].as_str().map(str::to_owned)) {
            self.sessions.insert(slot, pid);
        }
    }
}

/// Where a message stands, as a connection that returns says it: our stamp, or the offset Socket.IO puts behind the message.
fn position(payload: &[u8]) -> Option<String> {
    if let Some(at) = memmem::rfind(payload, b",\"").filter(|_| payload.ends_with(b"\"]")) {
        return String::from_utf8(payload[at + 1..payload.len() - 1].to_vec()).ok();
    }
    let stamped = message(payload)?;
    Some(json!({ TOPIC: { "epoch": stamped["e"].as_str()?, "offset": stamped["o"].as_u64()? } }).to_string())
}

impl Handler for Storm {
    fn bulk(&mut self, net: &mut Net, slot: usize, bytes: &[u8]) -> usize {
        if slot < self.first { self.fan.bulk(net, slot, bytes) } else { 0 }
    }

    fn text(&mut self, net: &mut Net, slot: usize, payload: &[u8]) {
        if slot < self.first {
            self.fan.text(net, slot, payload);
        } else {
            self.take(net, slot, payload);
        }
    }

    fn early(&mut self, net: &mut Net, slot: usize, payload: &[u8]) {
        if slot >= self.first {
            self.take(net, slot, payload);
        }
    }

    fn opened(&mut self, net: &mut Net, slot: usize) {
        if slot >= self.first {
            self.ready += 1;
            self.at = net.now;
        }
    }
}

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let pid = args.pid()?;
    let missed: u64 = args.get("missed", 100)?;
    let mut staying = args.clone();
    staying.connections = args.get("steady", 100)?;
    let mut plan = Plan::new(&staying)?;
    let mut net = open(args)?;
    net.subscribe_with(std::mem::take(&mut plan.messages));
    let (first, last) = (staying.connections + 1, staying.connections + args.connections);
    let mut storm = Storm {
        fan: Fan::new(&staying, &mut plan, Sample::All)?,
        first,
        next: vec![0; args.connections],
        done: 0,
        goal: 1,
        ready: 0,
        at: 0,
        repeated: 0,
        missing: 0,
        positions: HashMap::new(),
        sessions: HashMap::new(),
    };
    net.connect_all(&mut storm, 1, staying.connections)?;
    net.subscribe_with(vec![wish(args, None)?]);
    net.connect_all(&mut storm, first, last)?;

    let rate: f64 = args.get("rate", 200.0)?;
    let mut schedule = Schedule { rate, next: 0, start: sys::now() + 100_000_000, ticks: true };
    let paced = format!(
        r#"{{"op":"paced","topic":"{}","topics":1,"size":{},"rate":0,"start":"0","subscribers":{}}}"#,
        plan.name, args.size, staying.connections
    );
    ask(&mut net, &mut storm, &paced, "pacing")?;
    ask(&mut net, &mut storm, &order(TOPIC, 1, 1, args.size, 0), "filled")?;
    schedule.keep_while(&mut net, &mut storm, PATIENCE, |_, storm| Ok(storm.done < args.connections))?;
    // Before: what those who stay see of a server that has nothing else to do.
    storm.fan.since = sys::now();
    schedule.keep(&mut net, &mut storm, nanos(args.seconds))?;
    let quiet = std::mem::replace(&mut storm.fan.latency, Latency::new());

    (first..=last).for_each(|slot| net.abandon(slot));
    schedule.keep(&mut net, &mut storm, GONE)?;
    ask(&mut net, &mut storm, &order(TOPIC, 1, missed, args.size, 1), "filled")?;
    come_back(args, &mut net, &storm, last)?;
    storm.expect(1 + missed);
    storm.ready = 0;
    storm.fan.latency.clear();
    let peak = Peak::watch(pid)?;
    let from = Mark::now(pid)?;
    let began = sys::now();
    storm.fan.since = began;
    let mut next = first;
    schedule.keep_while(&mut net, &mut storm, PATIENCE, |net, storm| {
        net.begin(&mut next, last)?;
        Ok(storm.done < args.connections || storm.ready < args.connections)
    })?;
    let (back, ready, live) = (storm.done, storm.ready, storm.at.saturating_sub(began));
    storm.fan.until = sys::now();
    let used = from.until(Mark::now(pid)?);
    let report = peak.report(used.report(report(args), "replayed", args.connections as u64 * missed))?;

    // All that is published now reaches all of them, as the next message.
    storm.expect(2 + missed);
    ask(&mut net, &mut storm, &order(TOPIC, 1, 1, args.size, 1 + missed), "filled")?;
    schedule.keep_while(&mut net, &mut storm, GONE * 5, |_, storm| Ok(storm.done < args.connections))?;
    let done = ask(&mut net, &mut storm, r#"{"op":"stop"}"#, "done")?;
    let published = number(&done, "published")?;
    let heard = storm.done;
    read_rest(&mut net, &mut storm.fan, published)?;
    let dropped = drops(&mut net, &mut storm.fan)?;
    let report = storm.fan.account(report, published, dropped);
    let whole = [back, ready, heard] == [args.connections; 3] && storm.repeated == 0 && storm.missing == 0;
    let accounted = whole && report["accounted"] == true;
    Ok(with(
        report,
        json!({
            "missed": missed,
            "steady": staying.connections,
            "rate": rounded(rate),
            "live_us": rounded(live as f64 / 1e3),
            "all_recovered": back,
            "all_ready": ready,
            "heard_what_followed": heard,
            "repeated": storm.repeated,
            "out_of_place": storm.missing,
            "quiet_us": quiet.report(),
            "accounted": accounted,
        }),
    ))
}

/// What each says when it returns: where it was.
fn come_back(args: &Args, net: &mut Net, storm: &Storm, last: usize) -> Outcome<()> {
    let nowhere = String::new();
    let position = |slot: usize| storm.positions.get(&slot).unwrap_or(&nowhere);
    if args.socketio {
        let session = |slot| {
            let pid = storm.sessions.get(&slot)?;
            Some(format!(r#"{{"pid":"{pid}","offset":{}}}"#, position(slot)))
        };
        net.return_with((0..=last).map(|slot| session(slot).unwrap_or_default()).collect());
        // It is still in its rooms.
        net.subscribe_with(Vec::new());
    } else {
        let again = |slot| wish(args, storm.positions.get(&slot).map(String::as_str));
        net.subscribe_with((1..=last).map(again).collect::<Outcome<_>>()?);
    }
    Ok(())
}

/// The message by which a connection asks for the topic, and for what it has missed since it was at `position`.
fn wish(args: &Args, position: Option<&str>) -> Outcome<String> {
    let acl: bool = args.get("acl", false)?;
    let recovery = position.map(|position| format!(r#","recovery":{position}"#)).unwrap_or_default();
    Ok(match (acl, position.is_some()) {
        (false, false) => subscribe(&[TOPIC.to_owned()]),
        (false, true) => format!(r#"{{"t":"sub","p":{{"topics":["{TOPIC}"]{recovery}}}}}"#),
        (true, recover) => format!(
            r#"{{"c":"WSE","t":"subscription_update","p":{{"action":"subscribe","topics":["{TOPIC}"],"recover":{recover}{recovery}}},"v":1}}"#
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_from_a_stamp_and_from_an_offset() {
        let text = String::from_utf8(envelope::build("bench", 0, 7, 128)).unwrap();
        let stamped = text.replacen('{', r#"{"tp":"storm","e":"0a1b2c3d","o":3,"#, 1);
        assert_eq!(position(stamped.as_bytes()).unwrap(), r#"{"storm":{"epoch":"0a1b2c3d","offset":3}}"#);
        let offset = format!(r#"42["bench",{text},"P-x_1"]"#);
        assert_eq!(position(offset.as_bytes()).unwrap(), r#""P-x_1""#);
        assert_eq!(position(text.as_bytes()), None);
    }
}
