//! What an idle connection and a delivered frame cost through tungstenite and through this crate: the figures of
//! docs/design/codec.md. Not a test of anything, hence ignored:
//! `cargo test --release -p wse-protocol --test codec_cost -- --ignored --nocapture`

#![allow(clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Message, Utf8Bytes};
use wse_protocol::close_code::CloseCode;
use wse_protocol::frame::{Decoder, MessageSink, MessageSource, Opcode, push_frame, push_masked_frame};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system allocator unchanged; only a counter is kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promises are those of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are those of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONNECTIONS: usize = 1000;
const TEXT: usize = 128;

/// A socket in memory: gives `input` once, copies what is written to where the kernel's buffer would be.
struct Socket {
    input: Vec<u8>,
    kernel: Box<[u8; 16 * 1024]>,
    at: usize,
}

impl Socket {
    fn new(input: &[u8]) -> Self {
        Self { input: input.to_vec(), kernel: Box::new([0; 16 * 1024]), at: 0 }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let input = std::mem::take(&mut self.input);
        into[..input.len()].copy_from_slice(&input);
        Ok(input.len())
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = if self.at + bytes.len() > self.kernel.len() { 0 } else { self.at };
        self.kernel[at..at + bytes.len()].copy_from_slice(bytes);
        self.at = at + bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Nothing;

impl MessageSink for Nothing {
    fn text(&mut self, _: &str) {}
    fn binary(&mut self, _: &[u8]) {}
    fn ping(&mut self, _: &[u8]) {}
    fn pong(&mut self, _: &[u8]) {}
    fn close(&mut self, _: Option<CloseCode>, _: &str) {}
}

fn small() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0)
}

/// Bytes held per connection after it has received one message and fallen silent; the socket itself not counted.
fn idle(make: impl Fn(&[u8]) -> Box<dyn std::any::Any>) -> usize {
    let mut message = Vec::new();
    push_masked_frame(&mut message, true, Opcode::Text, &[b'x'; TEXT], [1, 2, 3, 4]);
    let mut held = Vec::with_capacity(CONNECTIONS);
    let before = HELD.load(Relaxed);
    for _ in 0..CONNECTIONS {
        held.push(make(&message));
    }
    (HELD.load(Relaxed) - before) / CONNECTIONS
}

fn tungstenite_idle(config: WebSocketConfig) -> usize {
    let socket = idle(|_| Box::new(Socket::new(&[])));
    idle(move |message| {
        let mut socket = WebSocket::from_raw_socket(Socket::new(message), Role::Server, Some(config));
        assert!(socket.read().is_ok() && socket.read().is_err());
        Box::new(socket)
    }) - socket
}

/// Best time of several rounds per frame, each round `frames` frames to every connection.
fn best(frames: usize, mut round: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..60 {
        let began = Instant::now();
        round();
        best = best.min(began.elapsed());
    }
    best.as_secs_f64() * 1e9 / f64::from(u32::try_from(frames * CONNECTIONS).unwrap())
}

fn tungstenite_fan_out(config: WebSocketConfig, frames: usize) -> f64 {
    let mut sockets: Vec<_> =
        (0..CONNECTIONS).map(|_| WebSocket::from_raw_socket(Socket::new(&[]), Role::Server, Some(config))).collect();
    let text = Utf8Bytes::from("x".repeat(TEXT));
    best(frames, || {
        for socket in &mut sockets {
            for _ in 0..frames {
                // The payload is shared; what is copied is copied by the library.
                socket.write(Message::Text(black_box(text.clone()))).unwrap();
            }
            socket.flush().unwrap();
        }
    })
}

fn own_fan_out(frames: usize) -> f64 {
    let mut sockets: Vec<_> = (0..CONNECTIONS).map(|_| Socket::new(&[])).collect();
    let text = "x".repeat(TEXT);
    let mut segment = Vec::new();
    best(frames, || {
        segment.clear();
        for _ in 0..frames {
            push_frame(&mut segment, Opcode::Text, black_box(text.as_bytes()));
        }
        for socket in &mut sockets {
            socket.write_all(black_box(&segment)).unwrap();
        }
    })
}

#[test]
#[ignore = "a measurement"]
fn cost() {
    let own = idle(|message| {
        let mut decoder = Decoder::new(1 << 20);
        let carry = Vec::<u8>::new();
        assert_eq!(decoder.feed(&mut message.to_vec(), &mut Nothing), Ok(message.len()));
        Box::new((decoder, carry))
    });
    println!("bytes held per idle connection, the socket not counted");
    println!("  tungstenite, defaults              {:>8}", tungstenite_idle(WebSocketConfig::default()));
    println!("  tungstenite, 4 KiB read, 0 write   {:>8}", tungstenite_idle(small()));
    println!("  own decoder and carry              {own:>8}");
    for frames in [1, 64] {
        println!(
            "ns per delivered frame: {frames} message(s) of {TEXT} B to {CONNECTIONS} sockets in memory, best of 60"
        );
        println!(
            "  tungstenite, defaults              {:>8.1}",
            tungstenite_fan_out(WebSocketConfig::default(), frames)
        );
        println!("  tungstenite, 4 KiB read, 0 write   {:>8.1}", tungstenite_fan_out(small(), frames));
        println!("  own encoder, one shared segment    {:>8.1}", own_fan_out(frames));
    }
}
