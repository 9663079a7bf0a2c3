//! A connection that is behind, beside the others of its shard: how long publishers wait for it. Decides nothing about its frames.

use super::convoy::{Census, YOUNG_MS};
use super::lag::{Found, Lag};
use super::{Connection, Context};
use crate::clock::Millis;

impl Connection {
    pub(super) fn look_behind(&mut self, context: &mut Context) {
        let (owed, now) = (self.account.out.owed(), context.now());
        let young = now.since(self.close.began) < YOUNG_MS;
        let lag = self.lag.get_or_insert_with(|| {
            context.convoy.watch(self.peer.id);
            Box::new(Lag::new(owed, now))
        });
        let behind = lag.is_behind(owed, self.congested, context.target_delay, now);
        context.convoy.behind(lag.count(behind));
        let may_press =
            !young || lag.is_proved() || context.convoy.young().is_left() || !context.convoy.few_are_behind();
        let found = lag.look(owed, behind, may_press, now);
        note_lag(found, context);
    }

    /// Its socket took `written` bytes.
    #[inline]
    pub(super) fn moved_on(&mut self, written: usize, context: &mut Context) {
        context.convoy.count(&mut self.active_in);
        if let Some(lag) = &mut self.lag {
            lag.wrote(written, self.account.out.owed(), context.now());
        }
    }

    /// Whether publishers waited for it as long as for the slowest, in the window that ends now.
    pub(crate) fn is_of_the_slowest(&self, now: Millis) -> bool {
        self.lag.as_ref().is_some_and(|lag| lag.is_of_the_slowest(now))
    }

    /// A regular look at a connection that is behind; at the end of a window it is judged beside the others. False when it is
    /// behind no longer.
    pub(crate) fn watch(&mut self, window: Option<Census>, context: &mut Context) -> bool {
        let Some(lag) = &mut self.lag else { return false };
        let now = context.now();
        let (others, look) = context.convoy.pace();
        lag.compare(others, look, now);
        let found = match window {
            Some(census) => lag.judge(census, now),
            None => lag.stand_still(now),
        };
        note_lag(found, context);
        self.hold_back_young(true, context);
        if let Some(mut lag) = self.lag.take_if(|lag| lag.is_over()) {
            context.convoy.behind(lag.count(false));
        }
        let behind = self.lag.is_some();
        if behind {
            self.look_behind(context);
        }
        behind
    }

    /// The shard stood still: nothing is held against the connection for it.
    pub(crate) fn excuse(&mut self, context: &Context) {
        if let Some(lag) = &mut self.lag {
            lag.excuse(context.now());
        }
    }

    /// Publishers wait for the young that are few no longer than their credit lasts; `charge`: it is charged with the time
    /// since the last look.
    pub(crate) fn hold_back_young(&mut self, charge: bool, context: &mut Context) {
        let Some(lag) = self.lag.as_mut().filter(|lag| lag.presses() && !lag.is_proved()) else { return };
        let now = context.now();
        if now.since(self.close.began) >= YOUNG_MS || !context.convoy.few_are_behind() {
            return;
        }
        let credit = context.convoy.young();
        if charge {
            credit.charge();
        }
        if !credit.is_left() {
            let found = lag.release(now);
            note_lag(found, context);
        }
    }

    /// It ends: nobody waits for it.
    pub(super) fn leave_convoy(&mut self, context: &mut Context) {
        if let Some(mut lag) = self.lag.take() {
            context.convoy.behind(lag.count(false));
            note_lag(lag.release(context.now()), context);
        }
        context.convoy.leave(self.active_in);
    }
}

/// Keeps count of the connections that publishers wait for; the last one lets them go on.
fn note_lag(found: Found, context: &Context) {
    match found {
        Found::Nothing => return,
        Found::Pressing => return context.counters.pressing.add(1),
        Found::Released => {}
        Found::Slow => context.counters.slow_consumers.add(1),
    }
    context.counters.pressing.shift(1, 0);
    if context.counters.pressing.get() == 0 {
        context.shared.relieve();
    }
}
