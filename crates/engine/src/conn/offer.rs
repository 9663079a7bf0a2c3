//! What becomes of frames that are offered to a connection. [`Connection::lose`] is the one place where a frame that does not
//! fit becomes a counter, an event and a policy.

use wse_protocol::close_code::CloseCode;

use super::account::{Dropped, Ledger, Loss, Offer, Report};
use super::{Connection, Context};
use crate::config::SlowConsumer;
use crate::inbound::Kind;

impl Connection {
    /// Offers frames and posts what became of them.
    pub(crate) fn offer(&mut self, offer: Offer<'_>, context: &Context) -> Loss {
        let mut ledger = Ledger::default();
        let loss = self.account.offer(offer, &mut ledger);
        ledger.post(&context.counters);
        loss
    }

    /// The budget is used up and these frames are lost: counts them, reports them, and closes the connection if that is the
    /// policy. The caller flushes it, or its next turn does, when the socket takes more.
    #[cold]
    pub(crate) fn lose(&mut self, loss: Loss, context: &mut Context) {
        let now = context.now();
        context.counters.slow_consumer_drops.add(u64::from(loss.frames));
        let dropped = self.account.dropped.get_or_insert_default();
        dropped.ever += u64::from(loss.frames);
        dropped.frames += u64::from(loss.frames);
        dropped.bytes += loss.bytes as u64;
        let due = dropped.due(now).unwrap_or(now);
        if context.shared.config.slow_consumer == SlowConsumer::Close {
            self.report_losses(Report::Closing, context);
            self.close_now(CloseCode::RECONNECT, "slow consumer", context);
        } else if now.has_reached(due) {
            self.report_losses(Report::Dropping, context);
        } else if !due.has_reached(self.timer) {
            self.rearm(context);
        }
    }

    /// Tells the host what was lost since it was told last, if anything.
    pub(super) fn report_losses(&mut self, report: Report, context: &mut Context) {
        // Reports are no more exempt from the host's limits than messages: while it is behind they add up and wait.
        if report == Report::Dropping && context.stream_is_over(self.stream) {
            return;
        }
        let Some(dropped) = self.account.dropped.as_mut().filter(|dropped| dropped.frames > 0) else { return };
        let text = format!(
            r#"{{"policy":"{}","queuedBytes":{},"droppedMessages":{},"droppedBytes":{}}}"#,
            if report == Report::Closing { "close" } else { "drop" },
            self.account.out.weight(),
            dropped.frames,
            dropped.bytes
        );
        **dropped = Dropped { told: Some(context.now()), ever: dropped.ever, ..Dropped::default() };
        context.event(self.stream, Kind::SlowConsumer, self.peer.id, text.as_bytes());
    }
}
