//! What pressure a mailbox tells, and what it refuses.

use super::*;

/// A mailbox with this mark, one batch taken out of it, and what that weighs.
fn working(mark: usize) -> (Mailbox, Commands, usize) {
    let mailbox = Mailbox::new(mark, usize::MAX);
    mailbox.send_all(Opcode::Text, &[7; 500]);
    mailbox.send_all(Opcode::Text, &[7; 500]);
    let batch = mailbox.take().expect("two messages wait");
    let weight = mailbox.weight();
    (mailbox, batch, weight)
}

#[test]
fn pressure_that_was_seen_beside_either_mark_is_taken_back() {
    // Between the move of the mark and that of the weight a publisher sees the old weight beside the new mark.
    let (falls, batch, weight) = working(10_000);
    assert!(weight < 10_000);
    assert!(falls.done(batch, 100), "the mark fell below what waited");
    let (rises, batch, weight) = working(100);
    assert!(weight > 100);
    assert!(rises.done(batch, 10_000), "the mark rose above what waited");
}

#[test]
fn a_long_message_raises_the_mark_only_while_it_is_there() {
    let mailbox = Mailbox::new(1000, usize::MAX);
    assert_eq!(mailbox.send_all(Opcode::Binary, &[0; 900]), Pressure::Fine, "alone");
    let batch = mailbox.take().expect("it waits");
    for _ in 0..2 {
        mailbox.send_all(Opcode::Binary, &[0; 300]);
    }
    mailbox.done(batch, 500);
    assert!(mailbox.is_above_mark());
    assert_eq!(mailbox.until_mark(), 0);
}

#[test]
fn an_arena_takes_no_more_than_its_positions_can_name() {
    let (size, empty) = (1 << 20, vec![0; 1 << 20]);
    let mut mailbox = Mailbox::new(usize::MAX, usize::MAX);
    mailbox.max_arena = 2 * frame_size(size);
    assert_eq!(mailbox.send_all(Opcode::Binary, &empty), Pressure::Fine);
    let to = ConnId::new(0, 1, 1);
    let sends = [&empty, &empty].map(|payload| Outgoing { to, opcode: Opcode::Binary, payload });
    assert_eq!(mailbox.send_many(sends.iter()), Pressure::Refused, "the first of the two fits");
    assert_eq!(mailbox.send_all(Opcode::Binary, b""), Pressure::Refused);
    let batch = mailbox.take().expect("two messages wait");
    assert_eq!((batch.arena.len(), batch.list.len()), (2 * frame_size(size), 2));
    assert_eq!(batch.weight, mailbox.weight(), "what was refused weighs nothing");
}

#[test]
fn nobody_is_woken_where_nobody_can_have_seen_pressure() {
    let (calm, batch, _) = working(10_000);
    assert!(!calm.done(batch, 20_000));
    let (still, batch, _) = working(100);
    still.send_all(Opcode::Text, &[7; 500]);
    assert!(!still.done(batch, 100), "more waits than the mark allows");
}
