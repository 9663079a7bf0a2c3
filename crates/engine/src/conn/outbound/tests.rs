//! The queue as counted work, without sockets.

use super::*;

/// Fan-out without sockets: runs of 64 messages to 100 queues, written out each time. `bench/instructions.mjs` counts it.
#[test]
#[ignore = "counted by bench/instructions.mjs"]
fn fan_out() {
    let repetitions: usize = std::env::var("REPEAT").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut run = Vec::new();
    for _ in 0..64 {
        push_frame(&mut run, Opcode::Text, &[b'x'; 128]);
    }
    let mut queues: Vec<Outbound> = (0..100).map(|_| Outbound::default()).collect();
    let (mut scratch, mut written) = (Vec::new(), 0);
    for _ in 0..repetitions {
        let segment = Segment::default();
        let place = segment.append(&run);
        for queue in &mut queues {
            assert_eq!(queue.share(&segment, place.start, place.end, 64, 1 << 20), Queued::All);
        }
        for queue in &mut queues {
            while let Some(n) = queue.next_write(&mut scratch, <[u8]>::len) {
                written += n;
                queue.wrote(n);
            }
        }
    }
    assert_eq!(written, repetitions * 100 * run.len());
}
