//! Idle memory: the server's resident memory before and after `--connections` connections that then say nothing. A few more have
//! been there before: what a process takes once, with its first connection (pages of code, pools), is no connection's.

use serde_json::json;

use crate::args::{Args, Outcome};
use crate::net::{Handler, Idle, Net};
use crate::report::{Report, rounded, with};
use crate::rows::{ask, nanos, open, report};
use crate::sys;
use crate::usage::{Mark, resident};

/// Connections that are there before anything is measured.
const FIRST: usize = 1500;

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let pid = args.pid()?;
    let mut net = open(args)?;
    let cold = settled(&mut net, &mut Idle, pid)?;
    let first = FIRST.min(args.connections);
    net.connect_all(&mut Idle, 1, first)?;
    let before = settled(&mut net, &mut Idle, pid)?;
    let from = Mark::now(pid)?;
    net.connect_all(&mut Idle, first + 1, first + args.connections)?;
    let opening = from.until(Mark::now(pid)?);
    let after = settled(&mut net, &mut Idle, pid)?;
    let hold = Mark::now(pid)?;
    rest(&mut net, &mut Idle, nanos(args.seconds))?;
    let held = hold.until(Mark::now(pid)?);
    Ok(with(
        report(args),
        json!({
            "token": args.token.is_some(),
            "rss_cold": cold,
            "rss_before": before,
            "rss_after": after,
            "bytes_per_connection": rounded((after as f64 - before as f64) / args.connections as f64),
            "open_cpu_ns": rounded(opening.server * 1e9 / args.connections as f64),
            "idle_cores": rounded(held.server / held.seconds),
            "generator_limited": false,
            "accounted": net.healthy().is_ok(),
        }),
    ))
}

/// Resident memory once the server has been asked to collect its garbage and two readings agree within 0.5 %.
pub(crate) fn settled(net: &mut Net, handler: &mut impl Handler, pid: u32) -> Outcome<u64> {
    let mut last = 0;
    for _ in 0..12 {
        ask(net, handler, r#"{"op":"gc"}"#, "gc")?;
        rest(net, handler, 250_000_000)?;
        let now = resident(pid)?;
        if last > 0 && now.abs_diff(last) * 200 < now {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// Serves what comes (pings) for `span`.
pub(crate) fn rest(net: &mut Net, handler: &mut impl Handler, span: u64) -> Outcome<()> {
    let end = sys::now() + span;
    while sys::now() < end {
        net.turn(handler, 20_000_000)?;
        net.healthy()?;
    }
    Ok(())
}
