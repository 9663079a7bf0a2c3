//! The queue as counted work, without sockets.

use super::*;
use crate::frames::Segment;

/// Fan-out without sockets: runs of 64 messages to 100 queues, written out each time. `bench/instructions.mjs` counts it.
#[test]
#[ignore = "counted by bench/instructions.mjs"]
fn fan_out() {
    let repetitions: usize = std::env::var("REPEAT").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut run = Vec::new();
    for _ in 0..64 {
        push_frame(&mut run, Opcode::Text, &[b'x'; 128]);
    }
    let mut queues: Vec<Outbound> = (0..100).map(|_| Outbound::new(1 << 20)).collect();
    let (mut scratch, mut written) = (Vec::new(), 0);
    for _ in 0..repetitions {
        let slice = Slice::append(Segment::default(), &run, 64);
        for queue in &mut queues {
            assert_eq!(queue.share(&slice), Queued::All);
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
            let mut queue = Outbound::new(budget);
            let queued = queue.own_rest(&frames, written, 5);
            queue.pong(b"");
            let (mut rest, mut scratch) = (Vec::new(), Vec::new());
            while let Some(n) = queue.next_write(&mut scratch, |bytes| {
                rest.extend_from_slice(bytes);
                bytes.len()
            }) {
                queue.wrote(n);
            }
            let taken = if let Queued::Part(taken) = queued { taken } else { 5 };
            let kept = ends[taken as usize - 1];
            // The pong goes in at the first boundary, which is where the frame that was begun ends.
            let boundary = std::iter::once(&0).chain(&ends).find(|end| **end >= written).unwrap();
            let expected = [&frames[written..*boundary], &[0x8A, 0], &frames[*boundary..kept.max(*boundary)]].concat();
            assert_eq!(rest, expected, "budget {budget}, written {written}");
            assert_eq!(taken == 5, queued == Queued::All);
            assert_eq!(lost(&frames, 5, taken).1.len(), frames.len() - kept);
            assert_eq!((queue.weight(), queue.is_empty()), (0, true));
        }
    }
}

/// One peer that stops reading, and publications of a short frame and a long one that does not fit any more: what its queue
/// keeps alive stays within its budget, and the queue says so.
#[test]
fn a_slice_is_charged_with_the_segment_it_keeps_alive() {
    let budget = 64 * 1024;
    let mut queue = Outbound::new(budget);
    let mut segments = Vec::new();
    let (mut short, mut long) = (Vec::new(), Vec::new());
    push_frame(&mut short, Opcode::Text, b"delta");
    push_frame(&mut long, Opcode::Text, &vec![b'x'; 1024 * 1024]);
    for _ in 0..200 {
        // As a batch does it: both go into the topic's segment, then the batch is flushed.
        let segment = Segment::default();
        queue.share(&Slice::append(segment.clone(), &short, 1));
        queue.share(&Slice::append(segment.clone(), &long, 1));
        queue.settle();
        segments.push(segment);
    }
    let pinned = segments.iter().filter(|segment| !segment.unshared()).count();
    assert_eq!(pinned, 0, "no long segment is kept alive by a short slice");
    assert!(queue.weight() <= budget && queue.owed() > 0, "{} of {budget}", queue.weight());
    // What is owed for itself is shared, and charged in full.
    let mut queue = Outbound::new(4 * 1024 * 1024);
    let slice = Slice::append(Segment::default(), &long, 1);
    queue.share(&slice);
    queue.settle();
    assert!(queue.weight() >= slice.segment().pinned());
}
