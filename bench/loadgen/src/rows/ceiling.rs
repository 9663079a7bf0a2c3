//! What this generator can count on this machine: a second thread that does nothing but write ready-made frames into
//! loopback sockets, `--join` messages at a time, and no server at all. A peer that comes near this figure is limited by
//! the generator, not by itself.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::json;

use crate::args::{Args, Outcome};
use crate::envelope;
use crate::frame;
use crate::net::{self, Idle, Net};
use crate::report::{Report, rounded, with};
use crate::rows::fan::{Fan, Sample};
use crate::rows::plan::Plan;
use crate::rows::{nanos, report};
use crate::sys;
use crate::usage::Mark;

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let join: u64 = args.get("join", 1024)?;
    let listener = TcpListener::bind(args.target).map_err(|e| format!("bind: {e}"))?;
    let mut args = args.clone();
    args.target = local(&listener)?;
    let mut plan = Plan::new(&args)?;
    let mut net = Net::new(&args)?;
    let mut fan = Fan::new(&args, &mut plan, Sample::OneIn64)?;
    // Never joined: the thread ends with the process, which is about to report.
    let (sockets, size) = (args.connections + 1, args.size);
    thread::spawn(move || pour(&listener, sockets, size, join));
    measure(&args, &mut net, &mut fan)
}

fn local(listener: &TcpListener) -> Outcome<std::net::SocketAddrV4> {
    match listener.local_addr() {
        Ok(std::net::SocketAddr::V4(address)) => Ok(address),
        other => Err(format!("listener: {other:?}")),
    }
}

fn measure(args: &Args, net: &mut Net, fan: &mut Fan) -> Outcome<Report> {
    net.connect_all(&mut Idle, net::CONTROL, net::CONTROL)?;
    net.connect_all(fan, 1, args.connections)?;
    let serve = |net: &mut Net, fan: &mut Fan, span: u64| -> Outcome<()> {
        let end = sys::now() + span;
        while sys::now() < end {
            net.turn(fan, 10_000_000)?;
            net.healthy()?;
        }
        Ok(())
    };
    serve(net, fan, nanos(args.warmup))?;
    let (before, from) = (fan.delivered, Mark::now(std::process::id())?);
    serve(net, fan, nanos(args.seconds))?;
    let (used, work) = (from.until(Mark::now(std::process::id())?), fan.delivered - before);
    Ok(with(
        report(args),
        json!({
            "per_second": rounded(work as f64 / used.seconds),
            "generator_cores": rounded(used.own / used.seconds),
            "generator_ns": rounded(used.own * 1e9 / work as f64),
            "accounted": fan.missed == 0 && fan.disorder == 0 && fan.stray == 0,
        }),
    ))
}

/// Upgrades `sockets` connections and writes every one of them (but the first, control) the same frames, round after round.
fn pour(listener: &TcpListener, sockets: usize, size: usize, join: u64) {
    let Some(mut subscribers) = (0..sockets).map(|_| upgrade(listener)).collect::<Option<Vec<_>>>() else { return };
    let Some(header) = frame::text_header(size) else { return };
    let mut seq = 0;
    let mut block = Vec::new();
    loop {
        block.clear();
        for _ in 0..join {
            block.extend(header);
            block.extend(envelope::build("bench", seq, 0, size));
            seq += 1;
        }
        if subscribers.iter_mut().skip(1).any(|socket| socket.write_all(&block).is_err()) {
            return;
        }
    }
}

fn upgrade(listener: &TcpListener) -> Option<TcpStream> {
    let (mut socket, _) = listener.accept().ok()?;
    let mut head = [0; 4096];
    let mut len = 0;
    while !head[..len].ends_with(b"\r\n\r\n") {
        len += socket.read(&mut head[len..]).ok().filter(|read| *read > 0)?;
    }
    socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: ").ok()?;
    socket.write_all(net::ACCEPT).ok()?;
    socket.write_all(b"\r\n\r\n").ok()?;
    Some(socket)
}
