//! What time does to a connection: pings, idle and expired connections, stuck closings, reports that fall due. Called when
//! the shard's wheel says so; owns no clock.

use wse_protocol::close_code::CloseCode;
use wse_protocol::envelope;

use super::account::{Loss, Offer, Report};
use super::connection::{Intake, Phase};
use super::{Connection, Context};
use crate::clock::{Millis, millis, unix_millis};
use crate::config::Config;
use crate::id::ConnId;

/// A Close waits behind what is queued for as long as that gets on, but not for longer than this, milliseconds.
const MAX_CLOSING_MS: u32 = 60_000;
/// What a connection is granted whose silence may be the shard's own, which stood still, milliseconds.
const GRACE_MS: u32 = 1000;
/// After this many pings in a row that found the queue full, a connection is given up.
const FULL_PINGS: u8 = 2;

impl Connection {
    /// Does what is due. False: the peer did not complete the close handshake in time, drop it.
    /// `stalled`: the shard itself stood still until now, so sockets may hold what was not read.
    pub(crate) fn on_timer(&mut self, stalled: bool, context: &mut Context) -> bool {
        let now = context.now();
        if let Some(parting) = &self.parting {
            if now.has_reached(parting.until) {
                self.depart(context);
            }
        } else if self.phase != Phase::Open {
            let config = &context.shared.config;
            if now.since(self.close.progressed) >= millis(config.close_timeout)
                || now.since(self.close.began) >= MAX_CLOSING_MS
            {
                return false;
            }
        } else {
            self.on_timer_while_open(stalled, now, context);
        }
        if self.account.dropped.as_ref().and_then(|dropped| dropped.due(now)).is_some_and(|due| now.has_reached(due)) {
            self.report_losses(Report::Dropping, context);
        }
        true
    }

    fn on_timer_while_open(&mut self, stalled: bool, now: Millis, context: &mut Context) {
        self.account.out.trim();
        if self.expires != 0 && self.expire(context) {
            return;
        }
        if self.intake == Intake::Paused {
            // It is the host that is behind: what the peer has sent meanwhile is still in the socket.
            self.last_heard = now;
        }
        let idle = millis(context.shared.config.idle_timeout);
        if now.since(self.last_heard) >= idle {
            if stalled {
                self.last_heard = now.before(idle.saturating_sub(GRACE_MS));
                return;
            }
            context.counters.zombies.add(1);
            self.close_now(CloseCode::RECONNECT, "idle timeout", context);
            return;
        }
        if now.has_reached(self.next_ping) {
            self.next_ping = now.after(millis(context.shared.config.ping_interval));
            self.ping(context);
        }
    }

    /// Every WebSocket stack answers the ping of RFC 6455; published WSE clients look for the one in text.
    fn ping(&mut self, context: &mut Context) {
        self.account.out.ping();
        let loss = match self.peer.talks_wse() {
            true => self.offer(Offer::Reply(&envelope::ping(unix_millis())), context),
            false => Loss::default(),
        };
        if loss.is_none() && !self.account.out.is_full() {
            self.full_pings = 0;
            return;
        }
        self.full_pings += 1;
        if !loss.is_none() {
            self.lose(loss, context);
        }
        if self.full_pings >= FULL_PINGS {
            self.close_now(CloseCode::RECONNECT, "slow consumer", context);
        }
        if self.phase != Phase::Open {
            context.counters.zombies.add(1);
        }
    }

    /// Spreads first pings over the interval, so that many connections opened at once are not pinged at once.
    pub(super) fn spread_pings(&mut self, config: &Config, now: Millis) {
        self.next_ping = now.after(stagger(self.peer.id, millis(config.ping_interval)));
    }

    /// When the wheel must visit next.
    pub(super) fn next_timer(&self, config: &Config, now: Millis) -> Millis {
        if let Some(parting) = &self.parting {
            return parting.until;
        }
        if self.phase != Phase::Open {
            let stuck = self.close.progressed.after(millis(config.close_timeout));
            return stuck.earlier(self.close.began.after(MAX_CLOSING_MS));
        }
        let idle = self.last_heard.after(millis(config.idle_timeout));
        let mut next = self.next_ping.earlier(idle);
        if let Some(due) = self.account.dropped.as_ref().and_then(|dropped| dropped.due(now)) {
            next = next.earlier(due);
        }
        if self.expires != 0 {
            next = next.earlier(now.after(self.until_expiry(config)));
        }
        next
    }
}

/// The part of an interval after which a connection is pinged first, milliseconds.
fn stagger(id: ConnId, interval: u32) -> u32 {
    // Fibonacci hashing: neighbouring ids land far apart.
    let spread = id.as_u64().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let part = (spread * u64::from(interval)) >> 32;
    u32::try_from(part).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_pings_of_those_who_came_together_are_spread_over_the_interval() {
        const INTERVAL: u32 = 25_000;
        let mut tenths = [0; 10];
        for slot in 0..1000 {
            let at = stagger(ConnId::from_u64(slot), INTERVAL);
            assert!((1..=INTERVAL).contains(&at), "{at}");
            tenths[(at.min(INTERVAL - 1) / (INTERVAL / 10)) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (80..=120).contains(count)), "{tenths:?}");
    }
}
