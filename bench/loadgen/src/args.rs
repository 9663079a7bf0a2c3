//! Command line: one row name, then `--name value` pairs. Knows every option's name, not what a row makes of it.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::str::FromStr;

use lexopt::{Arg, ValueExt as _};

/// What every fallible step of the generator returns: a sentence for the person who started it.
pub(crate) type Outcome<T> = Result<T, String>;

/// Options that rows read through [`Args::get`]; any other is a mistake, and measures something else than was asked.
const OPTIONS: [&str; 32] = [
    "acl",
    "budget",
    "bystanders",
    "chunk",
    "clock",
    "connections",
    "cycles",
    "each",
    "exact",
    "expect-ready",
    "heavy-rate",
    "heavy-size",
    "join",
    "missed",
    "nap-us",
    "per-topic",
    "pid",
    "proto",
    "rate",
    "raw",
    "read-rate",
    "receive-buffer",
    "seconds",
    "size",
    "slow-share",
    "steady",
    "token",
    "topic",
    "topics",
    "url",
    "warmup",
    "window",
];

/// The options every row shares; the rest is read by the row through [`Args::get`].
#[derive(Debug, Clone)]
pub(crate) struct Args {
    pub(crate) row: String,
    pub(crate) target: SocketAddrV4,
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) socketio: bool,
    pub(crate) connections: usize,
    pub(crate) seconds: f64,
    pub(crate) warmup: f64,
    pub(crate) size: usize,
    values: BTreeMap<String, String>,
}

impl Args {
    /// Reads `words`, the command line without the program's name.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Outcome<Self> {
        let (row, values) = split(words).map_err(|error| error.to_string())?;
        let row = row.ok_or("usage: wse-loadgen <row> --url ws://127.0.0.1:PORT/ [--option value]…")?;
        let url = values.get("url").ok_or("--url is missing")?;
        let rest = url.strip_prefix("ws://").ok_or_else(|| format!("--url must begin with ws://, got {url:?}"))?;
        let (host, path) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, path.to_owned()));
        let target: SocketAddrV4 =
            host.parse().map_err(|_| format!("--url needs an IPv4 address and port, got {host:?}"))?;
        if !target.ip().is_loopback() {
            return Err(format!("only loopback may be loaded, got {}", target.ip()));
        }
        let mut args = Self {
            row,
            target,
            path: format!("/{path}"),
            token: values.get("token").cloned(),
            socketio: values.get("proto").is_some_and(|proto| proto == "socketio"),
            connections: 0,
            seconds: 0.0,
            warmup: 0.0,
            size: 0,
            values,
        };
        args.connections = args.get("connections", 100)?;
        args.seconds = args.get("seconds", 3.0)?;
        args.warmup = args.get("warmup", 0.5)?;
        args.size = args.get("size", 128)?;
        if !(0.05..=600.0).contains(&args.seconds) || !(0.0..=60.0).contains(&args.warmup) {
            return Err("--seconds must be 0.05 to 600 and --warmup 0 to 60".into());
        }
        Ok(args)
    }

    /// Option `name`, or `default` when it was not given.
    pub(crate) fn get<T: FromStr>(&self, name: &str, default: T) -> Outcome<T> {
        debug_assert!(OPTIONS.contains(&name), "--{name} could never be given");
        match self.values.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{name}: cannot read {text:?}")),
        }
    }

    /// The server's process id, needed by every row that reports its CPU or memory.
    pub(crate) fn pid(&self) -> Outcome<u32> {
        match self.get("pid", 0)? {
            0 => Err("--pid is missing".into()),
            pid => Ok(pid),
        }
    }
}

type Split = (Option<String>, BTreeMap<String, String>);

/// The row's name and the options by name.
fn split(words: impl IntoIterator<Item = String>) -> Result<Split, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(words);
    let (mut row, mut values) = (None, BTreeMap::new());
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(name) if row.is_none() => row = Some(name.string()?),
            Arg::Long(name) if OPTIONS.contains(&name) => {
                let name = name.to_owned();
                values.insert(name, parser.value()?.string()?);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok((row, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Args> {
        Args::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let args = parse("echo --url ws://127.0.0.1:9/x --raw true --seconds 2").unwrap();
        assert_eq!((args.row.as_str(), args.path.as_str(), args.seconds), ("echo", "/x", 2.0));
        assert_eq!(args.get("raw", false), Ok(true));
        for line in ["echo", "echo --url ws://8.8.8.8:80/", "echo --url ws://127.0.0.1:9/ --sise 4", "echo --url"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
