//! What becomes of what a connection has sent out of its outbox, at the end of its turn: it goes to where the host finds it, and only
//! then is acknowledged. Keeps nothing.

use wse_protocol::envelope::outbox_ack;

use super::account::{Ledger, Offer};
use super::outboxes::Owed;
use super::{Connection, Context};

impl Context {
    /// Gives the host what the connection whose turn it is has sent; what is to be acknowledged to it, if it is there still.
    pub(crate) fn give_outboxed(&mut self) -> Vec<Owed> {
        self.deliver();
        let (now, shard) = (self.shared.clock.elapsed_ms(), self.index);
        let owed = std::mem::take(&mut self.outboxes.owed);
        for Owed { window, .. } in &owed {
            if let Some(mut window) = window.lock(now) {
                window.given(shard);
            }
        }
        owed
    }
}

impl Connection {
    /// Acknowledges what it has sent out of its outbox in this turn, once that is where the host finds it.
    pub(crate) fn acknowledge(&mut self, context: &mut Context) {
        let mut ledger = Ledger::default();
        for Owed { stream, number, .. } in context.give_outboxed() {
            let loss = self.account().offer(Offer::Reply(&outbox_ack(&stream, number)), &mut ledger);
            if !loss.is_none() {
                self.lose(loss, context);
            }
        }
        ledger.post(&context.counters);
    }
}
