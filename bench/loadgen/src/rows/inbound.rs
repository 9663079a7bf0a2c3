//! Inbound: every connection sends as fast as the server takes it (TCP backpressure closes the loop); the server's
//! JavaScript handler reads one member of each parsed message and counts.

use serde_json::json;

use crate::args::{Args, Outcome};
use crate::envelope;
use crate::frame::{self, TEXT};
use crate::net::{Handler, Net};
use crate::report::{Report, number, with};
use crate::rows::{ask, nanos, open, report};
use crate::sys;
use crate::usage::{Mark, Peak};

/// Bytes of ready-made frames, sent round and round; at least four different ones.
const BLOCK: usize = 64 * 1024;

#[derive(Debug)]
struct Senders {
    block: Vec<u8>,
    frame: usize,
    /// Bytes of the block already sent, per slot.
    at: Vec<usize>,
    sent_bytes: u64,
    stopping: bool,
}

impl Handler for Senders {
    fn writable(&mut self, net: &mut Net, slot: usize) {
        let from = self.at[slot];
        let to = match self.stopping {
            // End on a whole frame.
            true => from.div_ceil(self.frame) * self.frame,
            false => self.block.len(),
        };
        if from < to {
            let taken = net.offer(slot, &self.block[from..to]);
            self.sent_bytes += taken as u64;
            self.at[slot] = (from + taken) % self.block.len();
        }
        if !self.stopping || !self.at[slot].is_multiple_of(self.frame) {
            net.want_write(slot);
        }
    }
}

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let pid = args.pid()?;
    let mut net = open(args)?;
    let mut block = Vec::new();
    let mut frames = 0;
    while block.len() < BLOCK.max(4 * args.size) {
        let mask = net.next_mask();
        frame::push_masked(&mut block, TEXT, mask, &different(frames as u64, args.size));
        frames += 1;
    }
    let frame = block.len() / frames;
    let mut senders = Senders { block, frame, at: vec![0; args.connections + 1], sent_bytes: 0, stopping: false };
    net.connect_all(&mut senders, 1, args.connections)?;
    (1..=args.connections).for_each(|slot| net.want_write(slot));

    serve(&mut net, &mut senders, nanos(args.warmup))?;
    let peak = Peak::watch(pid)?;
    let (from, before) = (Mark::now(pid)?, handled(&mut net, &mut senders)?);
    serve(&mut net, &mut senders, nanos(args.seconds))?;
    let (to, after) = (Mark::now(pid)?, handled(&mut net, &mut senders)?);

    // Every frame that left must be handled, once; then nothing is in flight.
    senders.stopping = true;
    let deadline = sys::now() + 20_000_000_000;
    let (mut count, mut sent) = (after, u64::MAX);
    while (count.0 < sent || !senders.sent_bytes.is_multiple_of(frame as u64)) && sys::now() < deadline {
        serve(&mut net, &mut senders, 20_000_000)?;
        count = handled(&mut net, &mut senders)?;
        sent = senders.sent_bytes / frame as u64;
    }
    let report = peak.report(from.until(to).report(report(args), "messages", after.0 - before.0))?;
    Ok(with(
        report,
        json!({
            "sent": sent,
            "delivered": count.0,
            "in_flight": sent.cast_signed() - count.0.cast_signed(),
            "accounted": count.0 == sent && (count.1 == 0 || count.1 == sent * 12),
            "parsed": count.1 > 0,
        }),
    ))
}

/// A message none of whose strings is that of another: a server that knows a value again must not profit.
fn different(seq: u64, size: usize) -> Vec<u8> {
    let mut state = seq.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut message = envelope::build("in", seq, state >> 4, size);
    for letter in message.iter_mut().filter(|letter| **letter == b'x') {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        *letter = b'a' + (state >> 59) as u8 % 26;
    }
    message
}

/// Messages the handler has counted, and the sum of the member it read from each (its length is 12).
fn handled(net: &mut Net, senders: &mut Senders) -> Outcome<(u64, u64)> {
    let answer = ask(net, senders, r#"{"op":"count"}"#, "count")?;
    Ok((number(&answer, "n")?, number(&answer, "sum")?))
}

fn serve(net: &mut Net, senders: &mut Senders, span: u64) -> Outcome<()> {
    let end = sys::now() + span;
    while sys::now() < end {
        net.turn(senders, 2_000_000)?;
        net.healthy()?;
    }
    Ok(())
}
