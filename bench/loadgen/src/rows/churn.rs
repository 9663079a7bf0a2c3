//! Churn: connect, subscribe, leave, `--cycles` times with `--connections` at a time; every second one leaves with the
//! closing handshake, the others just vanish. Memory before (after a tenth of the cycles, once the server is warm) and after.

use serde_json::json;

use crate::args::{Args, Outcome};
use crate::net::{Handler, Net};
use crate::report::{Report, rounded, with};
use crate::rows::idle::settled;
use crate::rows::{open, report};
use crate::sys;
use crate::usage::{Mark, resident};

#[derive(Debug)]
struct Churn {
    left: u64,
    opened: u64,
    ended: u64,
}

impl Churn {
    fn again(&mut self, net: &mut Net, slot: usize) {
        self.ended += 1;
        self.begin(net, slot);
    }

    fn begin(&mut self, net: &mut Net, slot: usize) {
        if self.left > 0 {
            self.left -= 1;
            if let Err(why) = net.connect(slot) {
                net.fail(why);
            }
        }
    }

    fn cycles(&mut self, net: &mut Net, slots: usize, cycles: u64) -> Outcome<()> {
        let goal = self.ended + cycles;
        self.left = cycles;
        (1..=slots).for_each(|slot| self.begin(net, slot));
        let deadline = sys::now() + 120_000_000_000;
        while self.ended < goal {
            net.turn(self, 10_000_000)?;
            net.healthy()?;
            if sys::now() > deadline {
                return Err(format!("{} of {goal} cycles after 120 s", self.ended));
            }
        }
        Ok(())
    }
}

impl Handler for Churn {
    fn opened(&mut self, net: &mut Net, slot: usize) {
        self.opened += 1;
        if self.opened.is_multiple_of(2) {
            net.close(slot);
        } else {
            net.abandon(slot);
            self.again(net, slot);
        }
    }

    fn closed(&mut self, net: &mut Net, slot: usize, _clean: bool) {
        self.again(net, slot);
    }
}

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let pid = args.pid()?;
    let cycles: u64 = args.get("cycles", 10_000)?;
    let mut net = open(args)?;
    let topics = (0..64).map(|n| format!(r#"{{"t":"sub","p":{{"topics":["churn.all","churn.{n}"]}}}}"#));
    net.subscribe_with(topics.collect());
    let mut churn = Churn { left: 0, opened: 0, ended: 0 };
    let cold = resident(pid)?;
    churn.cycles(&mut net, args.connections, cycles / 10)?;
    let before = settled(&mut net, &mut churn, pid)?;
    let from = Mark::now(pid)?;
    churn.cycles(&mut net, args.connections, cycles)?;
    let used = from.until(Mark::now(pid)?);
    let after = settled(&mut net, &mut churn, pid)?;
    let report = used.report(with(report(args), json!({"cycles": cycles})), "connections", cycles);
    Ok(with(
        report,
        json!({
            "rss_cold": cold,
            "rss_before": before,
            "rss_after": after,
            "rss_ratio": rounded(after as f64 / before as f64),
            "accounted": churn.ended == churn.opened,
        }),
    ))
}
