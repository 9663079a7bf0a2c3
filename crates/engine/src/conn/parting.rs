//! The moment between a peer's last word and ours: it has said Close or broken the protocol, and what the host answers to
//! its messages of before still goes out first. Bounded in time; a host that owes no answer is not waited for, and nobody is where
//! the peer never asked for one.

use super::connection::{Parting, Phase};
use super::ending::By;
use super::{Connection, Context};

/// How long our Close waits for a host that has not come back from events it was given, milliseconds; the wheel may add
/// another tick of its own.
const GRACE_MS: u32 = 100;

impl Connection {
    /// The peer has had its say: what follows is a Close with this payload, behind what is queued and what the host still
    /// answers. `then` is the phase that follows. The shard asks [`Self::waits_for_host`] after each batch; a peer that never
    /// sent the host a message gets its Close now.
    pub(super) fn part(&mut self, close: Vec<u8>, then: Phase, context: &mut Context) {
        if self.phase != Phase::Open {
            return;
        }
        let by = if then == Phase::Answering { By::Peer } else { By::Server };
        context.note_end(self.id().slot(), by, &close);
        if !self.asked {
            self.begin_close(context);
            self.account.out.close_after(close);
            self.phase = then;
            return;
        }
        self.phase = Phase::Parting;
        let reader = context.await_host(self.id().slot(), self.stream);
        self.parting =
            Some(Box::new(Parting { close, then, reader, heard: None, until: context.now().after(GRACE_MS) }));
        self.rearm(context);
    }

    /// Whether its Close waits for the host.
    pub(crate) fn is_parting(&self) -> bool {
        self.parting.is_some()
    }

    /// Its events have gone to another reader: its Close waits for that one.
    pub(crate) fn wait_for_heir(&mut self, context: &mut Context) {
        if let Some(parting) = self.parting.as_mut().filter(|parting| parting.heard.is_none()) {
            parting.reader = context.mark_host(self.stream);
        }
    }

    /// Closes once the host has come back from the events it was given and what it sent meanwhile has been worked through.
    /// Called between two batches of commands. True: it still waits.
    pub(crate) fn waits_for_host(&mut self, context: &mut Context) -> bool {
        let Some(parting) = self.parting.as_mut() else { return false };
        let (reader, mark) = &parting.reader;
        if parting.heard.is_none() && reader.heard() >= *mark {
            parting.heard = Some(context.batch());
        }
        // What waited in the mailbox when that was found out is the next batch, if anything waited.
        let done = parting.heard.is_some_and(|batch| context.batch() > batch || context.mailbox_is_empty());
        if done {
            self.depart(context);
        }
        !done
    }

    /// Waits no longer.
    pub(super) fn depart(&mut self, context: &mut Context) {
        if let Some(parting) = self.parting.take() {
            self.begin_close(context);
            self.account.out.close_after(parting.close);
            self.phase = parting.then;
        }
    }

    /// Waits no longer, and gives up what is queued.
    pub(super) fn depart_now(&mut self, context: &mut Context) -> bool {
        let Some(parting) = self.parting.take() else { return false };
        self.begin_close(context);
        self.account.out.close_now(&parting.close);
        self.phase = parting.then;
        true
    }
}
