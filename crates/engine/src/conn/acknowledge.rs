//! What becomes of what connections have sent out of their outboxes, once all that were ready have had their turns: it goes to where the
//! host finds it, and only then is acknowledged. Keeps nothing.

use wse_protocol::envelope::outbox_ack;

use super::account::{Ledger, Offer};
use super::outboxes::Owed;
use super::{Connection, Context};

impl Context {
    /// Gives the host what was sent; what is to be acknowledged, that of one turn of a connection together.
    pub(crate) fn give_outboxed(&mut self) -> Vec<Owed> {
        self.deliver();
        self.outboxes.give()
    }
}

impl Connection {
    /// Acknowledges what it has sent out of its outbox, which is where the host finds it.
    pub(crate) fn acknowledge(&mut self, owed: &[Owed], context: &mut Context) {
        let mut ledger = Ledger::default();
        for Owed { stream, number, .. } in owed {
            let loss = self.account().offer(Offer::Reply(&outbox_ack(stream, *number)), &mut ledger);
            if !loss.is_none() {
                self.lose(loss, context);
            }
        }
        ledger.post(&context.counters);
    }
}
