//! Fan-out on an open-loop schedule: message i is planned for `start + i / rate`, whatever became of the ones before, and
//! latency counts from the planned time.
//!
//! `--clock generator` (default): this process sends one tick per message over the control connection at the planned time
//! and the server publishes on receiving it, so no runtime's timer is part of the figure. `--clock server`: the server's
//! own timers keep the schedule.

use serde_json::json;

use crate::args::{Args, Outcome};
use crate::net::{Handler, Net};
use crate::report::{Report, number, rounded, with};
use crate::rows::fan::{Fan, Sample};
use crate::rows::flood::read_rest;
use crate::rows::plan::Plan;
use crate::rows::{ask, drops, nanos, open, report, tell};
use crate::sys;
use crate::usage::{Mark, Used};

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let rate: f64 = args.get("rate", 100.0)?;
    if !(0.1..=1e6).contains(&rate) {
        return Err("--rate must be 0.1 to 1000000".into());
    }
    let clock = args.get("clock", "generator".to_owned())?;
    let mut plan = Plan::new(args)?;
    let mut net = open(args)?;
    net.subscribe_with(std::mem::take(&mut plan.messages));
    let mut fan = Fan::new(args, &mut plan, Sample::All)?;
    net.connect_all(&mut fan, 1, args.connections)?;

    let mut schedule = Schedule { rate, next: 0, start: sys::now() + 100_000_000, ticks: clock == "generator" };
    let order = format!(
        r#"{{"op":"paced","topic":"{}","topics":{},"size":{},"rate":{},"start":"{:019}","subscribers":{}}}"#,
        plan.name,
        plan.topics,
        args.size,
        if schedule.ticks { 0.0 } else { rate },
        schedule.start,
        plan.per_message
    );
    ask(&mut net, &mut fan, &order, "pacing")?;
    let (used, work) = schedule.measure(args, &mut net, &mut fan)?;
    let done = ask(&mut net, &mut fan, r#"{"op":"stop"}"#, "done")?;
    let published = number(&done, "published")?;
    read_rest(&mut net, &mut fan, published)?;
    let dropped = drops(&mut net, &mut fan)?;
    let report = with(report(args), json!({"rate": rounded(rate), "clock": clock}));
    let report = used.report(report, "deliveries", work);
    Ok(fan.account(with(report, json!({"late_max_us": number(&done, "late_max_us")?})), published, dropped))
}

/// The planned times, and the ticks if this process keeps them.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) rate: f64,
    pub(crate) next: u64,
    pub(crate) start: u64,
    pub(crate) ticks: bool,
}

impl Schedule {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds of a run, not negative")]
    fn planned(&self, seq: u64) -> u64 {
        self.start + (seq as f64 * 1e9 / self.rate) as u64
    }

    /// Keeps the schedule for `span`.
    pub(crate) fn keep(&mut self, net: &mut Net, handler: &mut impl Handler, span: u64) -> Outcome<()> {
        self.keep_while(net, handler, span, |_, _| Ok(true))
    }

    /// Keeps the schedule for `span`, or until `more` says that it is enough; `more` is asked every turn.
    pub(crate) fn keep_while<H: Handler>(
        &mut self,
        net: &mut Net,
        handler: &mut H,
        span: u64,
        mut more: impl FnMut(&mut Net, &mut H) -> Outcome<bool>,
    ) -> Outcome<()> {
        let end = sys::now() + span;
        loop {
            let now = sys::now();
            if now >= end || !more(net, handler)? {
                return net.healthy();
            }
            while self.ticks && self.planned(self.next) <= now {
                let (seq, planned) = (self.next, self.planned(self.next));
                tell(net, &format!(r#"{{"op":"tick","seq":{seq},"ns":"{planned:019}"}}"#));
                self.next += 1;
            }
            let wake = if self.ticks { self.planned(self.next).min(end) } else { end };
            net.turn(handler, wake.saturating_sub(sys::now()).min(10_000_000))?;
        }
    }

    /// Warm-up, then the measured window; latency of what was planned inside it is recorded.
    pub(crate) fn measure(&mut self, args: &Args, net: &mut Net, fan: &mut Fan) -> Outcome<(Used, u64)> {
        let pid = args.pid()?;
        self.keep(net, fan, nanos(args.warmup) + self.start.saturating_sub(sys::now()))?;
        let (before, from) = (fan.delivered, Mark::now(pid)?);
        (fan.since, fan.until) = (sys::now(), u64::MAX);
        self.keep(net, fan, nanos(args.seconds))?;
        fan.until = sys::now();
        Ok((from.until(Mark::now(pid)?), fan.delivered - before))
    }
}
