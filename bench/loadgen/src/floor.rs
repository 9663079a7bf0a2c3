//! The least that two threads can cost: a server that reads and writes sockets on one thread and answers on another, and does
//! nothing else: no JavaScript, no tokio, no topics, no limits. Beside it stands what an engine adds (bench/NOTEBOOK.md).
//! Understands just enough of the protocol for the rows `echo --raw true` and `fanout-paced`.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::args::Outcome;
use crate::envelope;
use crate::frame::{TEXT, text_header};
use crate::net::ACCEPT;
use crate::report;
use crate::sys::{self, Epoll, READ};

const LISTENER: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;
/// Stands for every connection but the first, which is the generator's control connection.
const ALL: usize = usize::MAX;
/// Size of the messages of `fanout-paced`.
const SIZE: usize = 128;

/// Messages on their way: bytes one after the other, and whose they are.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    parts: Vec<(usize, usize)>,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
    }
}

#[derive(Debug, Default)]
struct Hands {
    asked: Mutex<Batch>,
    waiting: Condvar,
    answered: Mutex<Batch>,
}

/// Serves until it is killed; `announce` is called with the port.
pub(crate) fn serve(announce: impl FnOnce(u16)) -> Outcome<()> {
    sys::raise_file_limit();
    let text = |error: std::io::Error| error.to_string();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    listener.set_nonblocking(true).map_err(text)?;
    announce(listener.local_addr().map_err(text)?.port());
    let wake = sys::eventfd().map_err(text)?;
    let hands = Arc::new(Hands::default());
    let (theirs, waker) = (Arc::clone(&hands), wake.try_clone().map_err(text)?);
    thread::spawn(move || answer(&theirs, waker));
    sockets(&listener, wake, &hands).map_err(text)
}

/// The answering thread: each message becomes a frame with the same payload.
fn answer(hands: &Hands, mut wake: File) {
    let (mut batch, mut published) = (Batch::default(), 0);
    loop {
        {
            let mut asked = hands.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            while asked.parts.is_empty() {
                asked = hands.waiting.wait(asked).unwrap_or_else(|poisoned| poisoned.into_inner());
            }
            std::mem::swap(&mut *asked, &mut batch);
        }
        let mut at = 0;
        let mut answered = hands.answered.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let idle = answered.parts.is_empty();
        for (slot, len) in &batch.parts {
            let payload = &batch.bytes[at..at + len];
            at += len;
            match order(payload, &mut published) {
                None => push(&mut answered, *slot, payload),
                Some((everyone, answer)) => push(&mut answered, if everyone { ALL } else { *slot }, &answer),
            }
        }
        drop(answered);
        if idle {
            let _ = wake.write(&1_u64.to_ne_bytes());
        }
        batch.clear();
    }
}

fn push(batch: &mut Batch, slot: usize, payload: &[u8]) {
    let before = batch.bytes.len();
    match (u8::try_from(payload.len()), text_header(payload.len())) {
        (_, Some(header)) => batch.bytes.extend(header),
        (Ok(len), None) => batch.bytes.extend([0x80 | TEXT, len]),
        (Err(_), None) => unreachable!("no row sends 64 KiB to this server"),
    }
    batch.bytes.extend(payload);
    batch.parts.push((slot, batch.bytes.len() - before));
}

/// What the generator's orders are answered with, and whether everybody gets it; `None` for what is echoed.
fn order(payload: &[u8], published: &mut u64) -> Option<(bool, Vec<u8>)> {
    if payload.starts_with(br#"{"t":"sub""#) {
        return Some((false, br#"{"c":"U","t":"subbed","p":{},"v":1}"#.to_vec()));
    }
    let op = payload.strip_prefix(br#"{"t":"bench","p":{"op":""#)?;
    if op.starts_with(b"tick") {
        let tick = report::message(payload)?;
        let seq = report::optional(&tick, "seq")?;
        let ns = tick["p"]["ns"].as_str()?.parse().ok()?;
        *published = seq + 1;
        return Some((true, envelope::build("bench", seq, ns, SIZE)));
    }
    let answer = match op {
        [b'h', ..] => r#""hello""#.to_owned(),
        [b'd', ..] => r#""drops","n":0"#.to_owned(),
        [b'p', ..] => r#""pacing""#.to_owned(),
        _ => format!(r#""done","published":{published},"late_max_us":0"#),
    };
    Some((false, format!(r#"{{"c":"U","t":"ctl","p":{{"op":{answer}}},"v":1}}"#).into_bytes()))
}

/// The sockets' thread.
fn sockets(listener: &TcpListener, mut wake: File, hands: &Hands) -> std::io::Result<()> {
    let epoll = Epoll::new()?;
    epoll.add(listener, READ, LISTENER)?;
    epoll.add(&wake, READ, WAKE)?;
    let mut peers: Vec<(TcpStream, bool)> = Vec::new();
    let (mut events, mut buffer) = (Vec::with_capacity(512), vec![0; 64 * 1024]);
    let (mut asked, mut answers) = (Batch::default(), Batch::default());
    loop {
        epoll.wait(&mut events, 1_000_000_000)?;
        for event in &events {
            match event.u64 {
                LISTENER => {
                    while let Ok((stream, _)) = listener.accept() {
                        stream.set_nonblocking(true)?;
                        stream.set_nodelay(true)?;
                        epoll.add(&stream, READ, peers.len() as u64)?;
                        peers.push((stream, false));
                    }
                }
                WAKE => drop(wake.read(&mut [0; 8])),
                slot => {
                    let slot = sys::index(slot);
                    read(&epoll, &mut peers[slot], slot, &mut buffer, &mut asked)?;
                }
            }
        }
        if !asked.parts.is_empty() {
            let mut waiting = hands.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            waiting.bytes.extend_from_slice(&asked.bytes);
            waiting.parts.extend_from_slice(&asked.parts);
            drop(waiting);
            hands.waiting.notify_one();
            asked.clear();
        }
        std::mem::swap(&mut *hands.answered.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), &mut answers);
        let mut at = 0;
        for (slot, size) in &answers.parts {
            let frame = &answers.bytes[at..at + size];
            at += size;
            // Small frames at a steady pace always fit.
            if *slot == ALL {
                peers.iter_mut().skip(1).for_each(|(stream, _)| drop(stream.write(frame)));
            } else {
                let _ = peers[*slot].0.write(frame);
            }
        }
        answers.clear();
    }
}

/// One read of a socket: the upgrade, then whole masked frames of up to 64 KiB, which is all the generator sends here.
fn read(
    epoll: &Epoll,
    (stream, upgraded): &mut (TcpStream, bool),
    slot: usize,
    buffer: &mut [u8],
    asked: &mut Batch,
) -> std::io::Result<()> {
    let len = match stream.read(buffer) {
        Ok(len) if len > 0 => len,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        _ => return epoll.change(stream, 0, slot as u64),
    };
    if !std::mem::replace(upgraded, true) {
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
        return stream.write_all(&[head, ACCEPT, b"\r\n\r\n"].concat());
    }
    let mut rest = &mut buffer[..len];
    while let [_, second, ..] = *rest {
        let (head, len) = match second & 0x7f {
            126 if rest.len() >= 4 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            len => (2, usize::from(len)),
        };
        if rest.len() < head + 4 + len {
            break;
        }
        let (frame, after) = rest.split_at_mut(head + 4 + len);
        let (key, payload) = frame[head..].split_at_mut(4);
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        asked.bytes.extend_from_slice(payload);
        asked.parts.push((slot, len));
        rest = after;
    }
    Ok(())
}
