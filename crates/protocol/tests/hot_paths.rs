//! The hot paths of the protocol as counted work: `bench/instructions.mjs` runs them under callgrind with two numbers of
//! repetitions and takes the difference. Ignored otherwise; checks nothing but that the work was done.

use wse_protocol::close_code::CloseCode;
use wse_protocol::envelope::find_injection;
use wse_protocol::frame::{Decoder, MessageSink, MessageSource, Opcode, push_frame, push_masked_frame};
use wse_protocol::json::{self, LeafEnds, MAX_LEAVES, Shape};

/// 128 bytes, as in the load generator.
const MESSAGE: &str = concat!(
    r#"{"c":"U","t":"bench","p":{"seq":"000000000001","ns":"0000000000000000002","pad":"#,
    r#""xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},"v":1}"#
);

fn repetitions() -> usize {
    std::env::var("REPEAT").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// Messages of a known shape.
struct Count {
    shape: Shape,
    cells: LeafEnds,
    seen: usize,
}

impl MessageSink for Count {
    fn text(&mut self, text: &str) {
        self.seen += usize::from(self.shape.matches(text.as_bytes(), 64, &mut self.cells));
    }
    fn binary(&mut self, _: &[u8]) {}
    fn ping(&mut self, _: &[u8]) {}
    fn pong(&mut self, _: &[u8]) {}
    fn close(&mut self, _: Option<CloseCode>, _: &str) {}
}

#[test]
#[ignore = "counted by bench/instructions.mjs"]
fn inbound() {
    let mut batch = Vec::new();
    for _ in 0..100 {
        push_masked_frame(&mut batch, true, Opcode::Text, MESSAGE.as_bytes(), [1, 2, 3, 4]);
    }
    let shape = Shape::learn(MESSAGE.as_bytes(), 64).expect("it has one");
    let mut seen = Count { shape, cells: [0; MAX_LEAVES], seen: 0 };
    let mut decoder = Decoder::new(1 << 20);
    let mut read = Vec::new();
    for _ in 0..repetitions() {
        read.clear();
        read.extend_from_slice(&batch);
        assert_eq!(decoder.feed(&mut read, &mut seen), Ok(batch.len()));
    }
    assert_eq!(seen.seen, 100 * repetitions());
}

#[test]
#[ignore = "counted by bench/instructions.mjs"]
fn scan() {
    let mut found = 0;
    for _ in 0..100 * repetitions() {
        let scan = json::scan_object(std::hint::black_box(MESSAGE).as_bytes(), 64).expect("valid");
        found += usize::from(scan.t.is_some());
    }
    assert_eq!(found, 100 * repetitions());
}

#[test]
#[ignore = "counted by bench/instructions.mjs"]
fn publish() {
    let mut arena = Vec::new();
    let mut injected = 0;
    for _ in 0..repetitions() {
        arena.clear();
        for _ in 0..100 {
            injected += usize::from(find_injection(std::hint::black_box(MESSAGE)).is_some());
            push_frame(&mut arena, Opcode::Text, MESSAGE.as_bytes());
        }
    }
    assert_eq!((injected, arena.len()), (0, 100 * (MESSAGE.len() + 4)));
}
