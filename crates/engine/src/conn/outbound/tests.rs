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

/// Wherever the socket stopped, the stream goes on with the very next byte and ends with a whole frame.
#[test]
fn what_a_socket_did_not_take_is_owed_from_there_on() {
    let mut frames = Vec::new();
    let sizes = [0, 5, 130, 1, 40];
    let ends: Vec<usize> = sizes
        .iter()
        .map(|size| {
            push_frame(&mut frames, Opcode::Text, &vec![b'x'; *size]);
            frames.len()
        })
        .collect();
    for budget in [1, 60, 200, 1 << 20] {
        for written in 0..frames.len() {
            let mut queue = Outbound::default();
            let queued = queue.own_rest(&frames, written, 5, budget);
            queue.pong(b"");
            let (mut rest, mut scratch) = (Vec::new(), Vec::new());
            while let Some(n) = queue.next_write(&mut scratch, |bytes| {
                rest.extend_from_slice(bytes);
                bytes.len()
            }) {
                queue.wrote(n);
            }
            let lost = if let Queued::Dropped { frames, .. } = queued { frames as usize } else { 0 };
            let kept = ends[4 - lost];
            // The pong goes in at the first boundary, which is where the frame that was begun ends.
            let boundary = std::iter::once(&0).chain(&ends).find(|end| **end >= written).unwrap();
            let expected = [&frames[written..*boundary], &[0x8A, 0], &frames[*boundary..kept.max(*boundary)]].concat();
            assert_eq!(rest, expected, "budget {budget}, written {written}");
            assert_eq!(lost == 0, queued == Queued::All);
            if let Queued::Dropped { bytes, .. } = queued {
                assert_eq!(bytes, frames.len() - kept);
            }
            assert_eq!((queue.weight(), queue.is_empty()), (0, true));
        }
    }
}
