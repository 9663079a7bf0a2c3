//! Command line: one row name, then `--name value` pairs.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::str::FromStr;

/// What every fallible step of the generator returns: a sentence for the person who started it.
pub(crate) type Outcome<T> = Result<T, String>;

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
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let row = words.next().ok_or("usage: wse-loadgen <row> --url ws://127.0.0.1:PORT/ [--option value]…")?;
        let mut values = BTreeMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("expected --option, got {word:?}"))?;
            let value = words.next().ok_or_else(|| format!("--{name} needs a value"))?;
            values.insert(name.to_owned(), value);
        }
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
