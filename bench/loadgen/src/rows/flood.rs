//! Fan-out as fast as an obedient publisher can: it waits whenever the server tells it to. What tells it is the server's own
//! backpressure where it has one for publishers; otherwise the publisher may be `--window` messages ahead of the slowest
//! subscriber, as an application on such a server would have to arrange it.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::args::{Args, Outcome};
use crate::net::Net;
use crate::report::{Report, number, rounded, with};
use crate::rows::fan::{Fan, Sample};
use crate::rows::plan::{Plan, subscribe};
use crate::rows::throttle::Throttle;
use crate::rows::{ask, drops, nanos, open, report, tell};
use crate::sys;
use crate::usage::{Mark, Peak};

/// How often the publisher hears what has arrived.
const ACK_EVERY: u64 = 500_000;
/// Topics each of the `--bystanders` subscribes to: a server must not become slower by those a message is not for.
const CROWD_TOPICS: usize = 4;

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let pid = args.pid()?;
    let nap = Duration::from_micros(args.get("nap-us", 100)?);
    let window: u64 = args.get("window", 4096)?;
    let chunk: u64 = args.get("chunk", 256)?;
    let mut plan = Plan::new(args)?;
    let mut net = open(args)?;
    net.subscribe_with(std::mem::take(&mut plan.messages));
    let mut fan = Fan::new(args, &mut plan, Sample::OneIn64)?;
    let mut throttle = Throttle::new(args)?;
    subscribers(args, &mut net, &mut fan, throttle.as_mut())?;
    let bystanders: usize = args.get("bystanders", 0)?;
    net.subscribe_with((0..bystanders).map(crowd).collect());
    net.connect_all(&mut fan, args.connections + 1, args.connections + bystanders)?;

    let order = format!(
        r#"{{"op":"flood","topic":"{}","topics":{},"size":{},"window":{window},"chunk":{chunk},"stamp_every":{},"subscribers":{}}}"#,
        plan.name,
        plan.topics,
        args.size,
        fan.stamp_every(),
        plan.per_message
    );
    let flooding = ask(&mut net, &mut fan, &order, "flooding")?;
    acknowledge(&mut net, &mut fan, throttle.as_mut(), nanos(args.warmup), nap)?;
    let peak = Peak::watch(pid)?;
    let (before, from) = (fan.delivered, Mark::now(pid)?);
    fan.since = sys::now();
    acknowledge(&mut net, &mut fan, throttle.as_mut(), nanos(args.seconds), nap)?;
    let (used, work) = (from.until(Mark::now(pid)?), fan.delivered - before);
    // What was sent until now and arrives later is late, and counts.
    fan.until = sys::now();

    let done = ask(&mut net, &mut fan, r#"{"op":"stop"}"#, "done")?;
    let published = number(&done, "published")?;
    if let Some(throttle) = throttle {
        throttle.end(&mut net);
    }
    read_rest(&mut net, &mut fan, published)?;
    let dropped = drops(&mut net, &mut fan)?;
    let report = with(
        report(args),
        json!({
            "bystanders": bystanders as u64,
            "backpressure": flooding["p"]["backpressure"],
            "window": window,
            "chunk": chunk,
            "topics": plan.topics as u64,
            "read_rate": rounded(args.get("read-rate", 0.0)?),
            "slow_share": rounded(args.get("slow-share", 0.0)?),
            "waited_ms": number(&done, "waited_ms")?,
        }),
    );
    let report = peak.report(used.report(report, "deliveries", work))?;
    Ok(fan.account(report, published, dropped))
}

/// Opens the subscribers, those with a pace of their own last and with a small kernel buffer (`--receive-buffer`, bytes): what
/// they have not read must wait in the server, not in this process's socket.
fn subscribers(args: &Args, net: &mut Net, fan: &mut Fan, throttle: Option<&mut Throttle>) -> Outcome<()> {
    let Some(throttle) = throttle else { return net.connect_all(fan, 1, args.connections) };
    if let Some(slow) = throttle.slow_one() {
        fan.set_apart(slow);
        net.connect_all(fan, 1, slow - 1)?;
    }
    net.receive_buffer(args.get("receive-buffer", 64 * 1024)?);
    net.connect_all(fan, throttle.first(), args.connections)?;
    net.receive_buffer(0);
    throttle.begin(net);
    Ok(())
}

/// Topics of one bystander: nothing is ever published on them.
fn crowd(bystander: usize) -> String {
    let names: Vec<String> = (0..CROWD_TOPICS).map(|n| format!("crowd.{}", bystander * CROWD_TOPICS + n)).collect();
    subscribe(&names)
}

/// Serves the subscribers for `span`, in turns `nap` apart (what a network card does when it joins interrupts: it spares the
/// server a wake-up of this process per send, and this process the reading of every single one), telling the publisher every
/// half millisecond how far the slowest has come.
fn acknowledge(
    net: &mut Net,
    fan: &mut Fan,
    mut throttle: Option<&mut Throttle>,
    span: u64,
    nap: Duration,
) -> Outcome<()> {
    let end = sys::now() + span;
    let (mut told, mut due) = (0, 0);
    loop {
        if !nap.is_zero() {
            thread::sleep(nap);
        }
        net.turn(fan, ACK_EVERY)?;
        if let Some(throttle) = &mut throttle {
            throttle.turn(net);
        }
        let now = sys::now();
        if now >= due {
            due = now + ACK_EVERY;
            let complete = fan.complete();
            if complete > told {
                told = complete;
                tell(net, &format!(r#"{{"op":"ack","n":{complete}}}"#));
            }
            net.healthy()?;
        }
        if now >= end {
            return Ok(());
        }
    }
}

/// Reads on until every subscriber has everything, or until nothing has come for two seconds.
pub(crate) fn read_rest(net: &mut Net, fan: &mut Fan, published: u64) -> Outcome<()> {
    let (mut seen, mut quiet) = (fan.seen(), sys::now());
    while !fan.has_all(published) && sys::now() - quiet < 2_000_000_000 {
        net.turn(fan, 20_000_000)?;
        if fan.seen() != seen {
            (seen, quiet) = (fan.seen(), sys::now());
        }
    }
    net.healthy()
}
