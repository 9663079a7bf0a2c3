//! Echo through JavaScript: every connection has exactly one message in flight. `--raw true` sends text that is not JSON,
//! so that no peer parses anything; otherwise the handler gets an object and answers with it.

use memchr::memmem;
use serde_json::json;

use crate::args::{Args, Outcome};
use crate::envelope;
use crate::latency::Latency;
use crate::net::{Handler, Net};
use crate::report::{Report, with};
use crate::rows::{nanos, open, report};
use crate::sys;
use crate::usage::Mark;

#[derive(Debug)]
struct Echo {
    message: String,
    /// What every answer must hold; compared in full length for raw text.
    expected: Vec<u8>,
    raw: bool,
    sent: Vec<u64>,
    sends: u64,
    answers: u64,
    wrong: u64,
    stopping: bool,
    latency: Latency,
}

impl Echo {
    fn send(&mut self, net: &mut Net, slot: usize) {
        self.sent[slot] = sys::now();
        self.sends += 1;
        net.send_message(slot, &self.message);
    }
}

impl Handler for Echo {
    fn text(&mut self, net: &mut Net, slot: usize, payload: &[u8]) {
        let right = if self.raw { payload == self.expected } else { memmem::find(payload, &self.expected).is_some() };
        if !right {
            // The greeting some peers send is not an answer.
            self.wrong += u64::from(!payload.starts_with(br#"{"c":"WSE""#));
            return;
        }
        self.answers += 1;
        self.latency.record(sys::now().saturating_sub(self.sent[slot]));
        if !self.stopping {
            self.send(net, slot);
        }
    }
}

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let pid = args.pid()?;
    let raw: bool = args.get("raw", false)?;
    let (message, expected) = if raw {
        let text = "e".repeat(args.size);
        (text.clone(), text.into_bytes())
    } else {
        let text = envelope::build("echo", 123_456_789_012, 1, args.size);
        (String::from_utf8_lossy(&text).into_owned(), br#""seq":"123456789012""#.to_vec())
    };
    let mut net = open(args)?;
    let sent = vec![0; args.connections + 1];
    let mut echo =
        Echo { message, expected, raw, sent, sends: 0, answers: 0, wrong: 0, stopping: false, latency: Latency::new() };
    net.connect_all(&mut echo, 1, args.connections)?;
    (1..=args.connections).for_each(|slot| echo.send(&mut net, slot));

    serve(&mut net, &mut echo, nanos(args.warmup))?;
    echo.latency.clear();
    let (before, from) = (echo.answers, Mark::now(pid)?);
    serve(&mut net, &mut echo, nanos(args.seconds))?;
    let (used, work) = (from.until(Mark::now(pid)?), echo.answers - before);
    let latency = echo.latency.report();

    echo.stopping = true;
    let deadline = sys::now() + 5_000_000_000;
    while echo.answers < echo.sends && sys::now() < deadline {
        net.turn(&mut echo, 10_000_000)?;
    }
    let report = used.report(with(report(args), json!({"raw": raw})), "round_trips", work);
    Ok(with(
        report,
        json!({
            "sent": echo.sends,
            "delivered": echo.answers,
            "wrong": echo.wrong,
            "accounted": echo.answers == echo.sends && echo.wrong == 0,
            "latency_us": latency,
        }),
    ))
}

fn serve(net: &mut Net, echo: &mut Echo, span: u64) -> Outcome<()> {
    let end = sys::now() + span;
    while sys::now() < end {
        net.turn(echo, 10_000_000)?;
        net.healthy()?;
    }
    Ok(())
}
