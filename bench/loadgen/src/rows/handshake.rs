//! Handshakes: connect, upgrade (with `--token` as a cookie, and then the greeting that proves it was accepted), closing
//! handshake, and again; `--connections` at a time.

use serde_json::json;

use crate::args::{Args, Outcome};
use crate::latency::Latency;
use crate::net::{Handler, Net};
use crate::report::{Report, with};
use crate::rows::{nanos, open, report};
use crate::sys;
use crate::usage::Mark;

#[derive(Debug)]
struct Shaker {
    begun: Vec<u64>,
    opened: u64,
    closed: u64,
    latency: Latency,
    stopping: bool,
}

impl Shaker {
    fn begin(&mut self, net: &mut Net, slot: usize) {
        self.begun[slot] = sys::now();
        if let Err(why) = net.connect(slot) {
            net.fail(why);
        }
    }
}

impl Handler for Shaker {
    fn opened(&mut self, net: &mut Net, slot: usize) {
        self.opened += 1;
        self.latency.record(sys::now().saturating_sub(self.begun[slot]));
        net.close(slot);
    }

    fn closed(&mut self, net: &mut Net, slot: usize, _clean: bool) {
        self.closed += 1;
        if !self.stopping {
            self.begin(net, slot);
        }
    }
}

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let pid = args.pid()?;
    let mut net = open(args)?;
    let begun = vec![0; args.connections + 1];
    let mut shaker = Shaker { begun, opened: 0, closed: 0, latency: Latency::new(), stopping: false };
    (1..=args.connections).for_each(|slot| shaker.begin(&mut net, slot));
    serve(&mut net, &mut shaker, nanos(args.warmup))?;
    shaker.latency.clear();
    let (before, from) = (shaker.closed, Mark::now(pid)?);
    serve(&mut net, &mut shaker, nanos(args.seconds))?;
    let (used, work) = (from.until(Mark::now(pid)?), shaker.closed - before);
    let latency = shaker.latency.report();

    shaker.stopping = true;
    let deadline = sys::now() + 5_000_000_000;
    while shaker.closed < shaker.opened && sys::now() < deadline {
        net.turn(&mut shaker, 10_000_000)?;
    }
    let report = used.report(with(report(args), json!({"token": args.token.is_some()})), "connections", work);
    Ok(with(
        report,
        json!({
            "sent": shaker.opened,
            "delivered": shaker.closed,
            "accounted": shaker.opened == shaker.closed,
            "latency_us": latency,
        }),
    ))
}

fn serve(net: &mut Net, shaker: &mut Shaker, span: u64) -> Outcome<()> {
    let end = sys::now() + span;
    while sys::now() < end {
        net.turn(shaker, 10_000_000)?;
        net.healthy()?;
    }
    Ok(())
}
