//! Memory of what is kept for recovery: the server's resident memory before and after `--each` messages were published to each of
//! `--topics` topics that nobody subscribes to.

use serde_json::json;

use crate::args::{Args, Outcome};
use crate::net::Idle;
use crate::report::{Report, number, optional, rounded, with};
use crate::rows::idle::settled;
use crate::rows::{ask, open, report};

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let pid = args.pid()?;
    let (topics, each): (u64, u64) = (args.get("topics", 10_000)?, args.get("each", 16)?);
    let mut net = open(args)?;
    // What the first publications make the server keep for good is no ring's.
    ask(&mut net, &mut Idle, &order("warm", 1, 1000, args.size, 0), "filled")?;
    let before = settled(&mut net, &mut Idle, pid)?;
    let filled = ask(&mut net, &mut Idle, &order("ring", topics, each, args.size, 0), "filled")?;
    let after = settled(&mut net, &mut Idle, pid)?;
    let published = number(&filled, "n")?;
    let per = |bytes: f64| rounded(bytes / topics as f64);
    Ok(with(
        report(args),
        json!({
            "topics": topics,
            "each": each,
            "rss_before": before,
            "rss_after": after,
            "bytes_per_ring": per(after as f64 - before as f64),
            "counted_per_ring": optional(&filled, "kept").map(|kept| per(kept as f64)),
            "generator_limited": false,
            "accounted": published == topics * each && net.healthy().is_ok(),
        }),
    ))
}

/// The order to publish messages `from`, `from + 1`, … to each of `topics` topics.
pub(super) fn order(topic: &str, topics: u64, each: u64, size: usize, from: u64) -> String {
    format!(r#"{{"op":"fill","topic":"{topic}","topics":{topics},"each":{each},"size":{size},"from":{from}}}"#)
}
