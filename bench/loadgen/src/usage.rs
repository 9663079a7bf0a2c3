//! Processor time and memory, of the server (from /proc) and of this process.

use serde_json::json;

use crate::args::Outcome;
use crate::report::{Report, rounded, with};
use crate::sys;

/// Above this share of one core the generator, not the server, may have set the pace.
const LIMITED: f64 = 0.9;
/// With less than this of all cores idle, server and generator took them from each other.
const FULL: f64 = 0.1;

/// One reading of the clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    at: u64,
    server: u64,
    own: u64,
    machine: u64,
    idle: u64,
}

/// What was used between two marks, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    pub(crate) server: f64,
    pub(crate) own: f64,
    /// All processes of the machine.
    machine: f64,
    /// Time no process of the machine wanted, over all its cores.
    idle: f64,
}

impl Mark {
    pub(crate) fn now(pid: u32) -> Outcome<Self> {
        let (busy, idle) = machine_cpu()?;
        Ok(Self { at: sys::now(), server: server_cpu(pid)?, own: sys::own_cpu(), machine: busy, idle })
    }

    pub(crate) fn until(self, end: Self) -> Used {
        let s = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
        Used {
            seconds: s(self.at, end.at),
            server: s(self.server, end.server),
            own: s(self.own, end.own),
            machine: s(self.machine, end.machine),
            idle: s(self.idle, end.idle),
        }
    }
}

impl Used {
    /// Adds the shares every report carries; `work` is what the server's time is divided by.
    pub(crate) fn report(self, report: Report, unit: &str, work: u64) -> Report {
        let mut report = with(
            report,
            json!({
                "window_s": rounded(self.seconds),
                "per_second": rounded(work as f64 / self.seconds),
                "server_cpu_s": rounded(self.server),
                "server_cores": rounded(self.server / self.seconds),
                "cpu_ns": rounded(self.server * 1e9 / work as f64),
                "other_cores": rounded((self.machine - self.server - self.own).max(0.0) / self.seconds),
                "generator_cores": rounded(self.own / self.seconds),
                "generator_limited": self.own / self.seconds > LIMITED,
                "idle_cores": rounded(self.idle / self.seconds),
                "machine_full": self.idle / self.seconds < FULL,
            }),
        );
        report.insert(format!("{unit}_in_window"), work.into());
        report
    }
}

/// User and system time of all threads of `pid`, in nanoseconds (the kernel counts in ticks of 10 ms).
fn server_cpu(pid: u32) -> Outcome<u64> {
    let stat =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| format!("server {pid} is gone: {e}"))?;
    // The name stands in brackets and may hold anything: count fields behind the last bracket.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_ascii_whitespace().collect();
    let tick = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).ok_or("cannot read /proc/PID/stat");
    Ok((tick(11)? + tick(12)?) * (1_000_000_000 / sys::ticks_per_second()))
}

/// User and system time of everything on this machine, and the time nothing ran, in nanoseconds.
fn machine_cpu() -> Outcome<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
    let fields: Vec<u64> =
        stat.split_ascii_whitespace().skip(1).take(5).filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, idle, waiting] = fields[..] else { return Err("cannot read /proc/stat".into()) };
    let tick = 1_000_000_000 / sys::ticks_per_second();
    Ok(((user + nice + system) * tick, (idle + waiting) * tick))
}

/// A line of the memory figures of `pid`, in bytes.
fn memory(pid: u32, name: &str) -> Outcome<u64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| format!("server {pid} is gone: {e}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().map_err(|_| format!("cannot read {name}"))?;
    Ok(kib * 1024)
}

/// Resident memory of `pid` in bytes.
pub(crate) fn resident(pid: u32) -> Outcome<u64> {
    memory(pid, "VmRSS:")
}

/// The most resident memory a server takes from a moment on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peak {
    pid: u32,
    before: u64,
}

impl Peak {
    /// Begins now: the kernel forgets the highest figure so far.
    pub(crate) fn watch(pid: u32) -> Outcome<Self> {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").map_err(|e| format!("clear_refs of {pid}: {e}"))?;
        Ok(Self { pid, before: resident(pid)? })
    }

    /// Adds the memory at the beginning and the peak since, in bytes.
    pub(crate) fn report(self, report: Report) -> Outcome<Report> {
        let peak = memory(self.pid, "VmHWM:")?;
        Ok(with(report, json!({"rss_before": self.before, "rss_peak": peak})))
    }
}
