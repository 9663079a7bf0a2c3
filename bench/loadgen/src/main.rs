//! Load generator of the benchmark: one process, one thread, one epoll, everything counted at the receiver.
//!
//! `wse-loadgen <row> --url ws://127.0.0.1:PORT/ [--option value]…` prints one JSON object. What each row does is
//! written in `bench/README.md`; which options it reads, in the row's own file. `wse-loadgen two-threads` is no row but a server:
//! see `floor.rs`.

#![expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds become figures of a report: nobody reads 16 digits"
)]

mod args;
mod envelope;
mod floor;
mod frame;
mod latency;
mod net;
mod report;
mod rows;
mod sys;
mod usage;

use std::process::ExitCode;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the report is this program's output")]
fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("two-threads") {
        let ended = floor::serve(|port| println!(r#"{{"port":{port},"pid":{}}}"#, std::process::id()));
        eprintln!("wse-loadgen: {ended:?}");
        return ExitCode::FAILURE;
    }
    let run = args::Args::parse(std::env::args().skip(1)).and_then(|args| rows::run(&args));
    match run {
        Ok(report) => {
            println!("{}", serde_json::Value::Object(report));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wse-loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}
