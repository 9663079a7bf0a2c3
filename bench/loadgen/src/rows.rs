//! One file per kind of row, and what they share: the conversation with the server's publisher.

mod ceiling;
mod churn;
mod echo;
mod fan;
mod flood;
mod handshake;
mod idle;
mod inbound;
mod paced;
mod plan;
mod recover;
mod rings;
mod slow;
mod throttle;

use serde_json::{Value, json};

use crate::args::{Args, Outcome};
use crate::net::{CONTROL, Handler, Idle, Net};
use crate::report::{Report, optional, rounded, with};
use crate::sys;

/// Runs the row named on the command line.
pub(crate) fn run(args: &Args) -> Outcome<Report> {
    match args.row.as_str() {
        "fanout-flood" | "topics" | "patterns" => flood::run(args),
        "fanout-paced" => paced::run(args),
        "echo" => echo::run(args),
        "inbound" => inbound::run(args),
        "handshake" => handshake::run(args),
        "idle" => idle::run(args),
        "recover" => recover::run(args),
        "rings" => rings::run(args),
        "slow" => slow::run(args),
        "ceiling" => ceiling::run(args),
        "churn" => churn::run(args),
        other => Err(format!("unknown row {other:?}")),
    }
}

/// Head of every report.
fn report(args: &Args) -> Report {
    let head = json!({
        "row": args.row,
        "connections": args.connections,
        "size": args.size,
        "seconds": rounded(args.seconds),
    });
    with(Report::new(), head)
}

/// Opens the control connection and waits for the server's answer on it.
fn open(args: &Args) -> Outcome<Net> {
    let mut net = Net::new(args)?;
    net.connect_all(&mut Idle, CONTROL, CONTROL)?;
    ask(&mut net, &mut Idle, r#"{"op":"hello"}"#, "hello")?;
    Ok(net)
}

fn tell(net: &mut Net, order: &str) {
    net.send_message(CONTROL, &format!(r#"{{"t":"bench","p":{order}}}"#));
}

/// Sends an order and serves the other connections until the answer called `name` is there.
fn ask(net: &mut Net, handler: &mut impl Handler, order: &str, name: &str) -> Outcome<Value> {
    tell(net, order);
    let deadline = sys::now() + 30_000_000_000;
    while sys::now() < deadline {
        while let Some(answer) = net.answers.pop_front() {
            if answer["p"]["op"] == name {
                return Ok(answer);
            }
        }
        net.turn(handler, 10_000_000)?;
        net.healthy()?;
    }
    Err(format!("no answer {name:?} to {order} within 30 s"))
}

/// Deliveries the server says it dropped, where it counts them; to be asked once the subscribers have all there is.
fn drops(net: &mut Net, handler: &mut impl Handler) -> Outcome<Option<u64>> {
    Ok(optional(&ask(net, handler, r#"{"op":"drops"}"#, "drops")?, "n"))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and no option is negative")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
