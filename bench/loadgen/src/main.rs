//! Load generator of the benchmark: one process, one thread, one epoll, everything counted at the receiver.
//!
//! `wse-loadgen <row> --url ws://127.0.0.1:PORT/ [--option value]…` prints one JSON object. What each row does is
//! written in `bench/README.md`; which options it reads, in the row's own file.

mod args;
mod envelope;
mod frame;
mod hist;
mod json;
mod net;
mod rows;
mod sys;
mod usage;

use std::process::ExitCode;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the report is this program's output")]
fn main() -> ExitCode {
    let run = args::Args::parse(std::env::args().skip(1)).and_then(|args| rows::run(&args));
    match run {
        Ok(report) => {
            println!("{}", report.finish());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wse-loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}
