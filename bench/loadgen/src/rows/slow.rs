//! One of many subscribers stops reading. All hear a paced topic; the last one alone also hears a heavy topic. First it
//! reads, then it does not: the same load, so the others' p99 and the server's memory tell what one stalled socket costs.

use serde_json::json;

use crate::args::{Args, Outcome};
use crate::latency::Latency;
use crate::net::Net;
use crate::report::{Report, number, rounded, with};
use crate::rows::fan::{Fan, Sample};
use crate::rows::flood::read_rest;
use crate::rows::idle::settled;
use crate::rows::paced::Schedule;
use crate::rows::plan::Plan;
use crate::rows::{ask, drops, open, report};
use crate::sys;
use crate::usage::resident;

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let pid = args.pid()?;
    let rate: f64 = args.get("rate", 100.0)?;
    let heavy_rate: u64 = args.get("heavy-rate", 2_000)?;
    let heavy_size: u64 = args.get("heavy-size", 4_096)?;
    let budget: u64 = args.get("budget", 16 << 20)?;
    let mut plan = Plan::new(args)?;
    let mut net = open(args)?;
    let both = format!(r#"{{"t":"sub","p":{{"topics":["{}","heavy"]}}}}"#, plan.name);
    let (usual, slow) = (plan.messages.remove(0), args.connections);
    let mut messages = vec![usual; args.connections];
    messages[slow - 1] = both;
    net.subscribe_with(messages);
    let mut fan = Fan::new(args, &mut plan, Sample::All)?;
    fan.ignored = Some(slow);
    net.connect_all(&mut fan, 1, slow - 1)?;
    // A small fixed kernel buffer: what is not read must pile up in the server, not in this process's socket.
    net.receive_buffer(16 * 1024);
    net.connect_all(&mut fan, slow, slow)?;

    let mut schedule = Schedule { rate, next: 0, start: sys::now() + 100_000_000, ticks: true };
    let order = format!(
        r#"{{"op":"paced","topic":"{}","topics":1,"size":{},"rate":0,"start":"0","heavy_rate":{heavy_rate},"heavy_size":{heavy_size}}}"#,
        plan.name, args.size
    );
    ask(&mut net, &mut fan, &order, "pacing")?;
    let (used, _) = schedule.measure(args, &mut net, &mut fan)?;
    let reading = std::mem::replace(&mut fan.latency, Latency::new());
    let before = resident(pid)?;

    net.reading(slow, false);
    let (stalled, _) = schedule.measure(args, &mut net, &mut fan)?;
    let after = resident(pid)?;
    let done = ask(&mut net, &mut fan, r#"{"op":"stop"}"#, "done")?;
    let published = number(&done, "published")?;
    read_rest(&mut net, &mut fan, published)?;
    let dropped = drops(&mut net, &mut fan)?;

    let p99 = |hist: &Latency| hist.quantile(0.99) as f64;
    let owed = heavy_rate as f64 * heavy_size as f64 * (args.seconds + args.warmup);
    let growth = after.saturating_sub(before);
    let ratio = p99(&fan.latency) / p99(&reading);
    let sent = published * (args.connections as u64 - 1);
    let report = with(
        report(args),
        json!({
            "rate": rounded(rate),
            "p99_ratio": rounded(ratio),
            "rss_before": before,
            "rss_after": after,
            "rss_growth": growth,
            "owed_bytes": rounded(owed),
            "budget": budget,
            "within_budget": growth <= budget + (8 << 20),
            "cores_reading": rounded(used.server / used.seconds),
            "cores_stalled": rounded(stalled.server / stalled.seconds),
            "generator_limited": stalled.own / stalled.seconds > 0.9,
            "sent_to_others": sent,
            "delivered_to_others": fan.delivered,
            "dropped_for_slow": dropped,
            "accounted": sent == fan.delivered && fan.disorder == 0 && fan.missed == 0,
            "latency_reading_us": reading.report(),
            "latency_us": fan.latency.report(),
        }),
    );
    net.reading(slow, true);
    Ok(with(report, json!({"rss_settled": settled_or_gone(&mut net, &mut fan, pid)})))
}

/// Memory once the slow one reads again; 0 when the server has closed it meanwhile, which its policy may do.
fn settled_or_gone(net: &mut Net, fan: &mut Fan, pid: u32) -> u64 {
    settled(net, fan, pid).unwrap_or(0)
}
