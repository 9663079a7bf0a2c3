//! What time does to a connection: pings, idle and expired connections, stuck closings. Called by the shard's wheel; owns no
//! clock and arms no timer itself.

use wse_protocol::close_code::CloseCode;
use wse_protocol::envelope;

use super::{Connection, Dropped, Phase, Queued};
use crate::clock::{Clock, unix_millis};
use crate::config::{Config, SlowConsumer};
use crate::metrics::ShardCells;

/// A Close waits behind what is queued for as long as that gets on, but not for longer than this.
const MAX_CLOSING_MS: u32 = 60_000;
/// What a connection is granted whose silence may be the shard's own, which stood still.
const GRACE_MS: u32 = 1000;

/// After this many pings in a row that found the queue full, a connection is given up.
const FULL_PINGS: u8 = 2;

impl Connection {
    /// Does what is due at `now`. False: the peer did not complete the close handshake in time, drop it.
    /// `stalled`: the shard itself stood still until now, so sockets may hold what was not read.
    pub(crate) fn on_timer(&mut self, config: &Config, cells: &ShardCells, now: u32, stalled: bool) -> bool {
        if self.phase != Phase::Open {
            return Clock::since(now, self.since_close) < millis(config.close_timeout)
                && Clock::since(now, self.closing_at) < MAX_CLOSING_MS;
        }
        self.out.trim();
        if self.expires != 0 && unix_millis() / 1000 >= self.expires {
            cells.zombies.add(1);
            self.close_after(CloseCode::UNAUTHORIZED, "Token expired", now);
            return true;
        }
        if self.paused {
            // It is the host that is behind: what the peer has sent meanwhile is still in the socket.
            self.last_data = now;
        }
        let idle = millis(config.idle_timeout);
        if Clock::since(now, self.last_data) >= idle {
            if stalled {
                self.last_data = now.wrapping_sub(idle.saturating_sub(GRACE_MS));
                return true;
            }
            cells.zombies.add(1);
            self.close_now(CloseCode::RECONNECT, "idle timeout", now);
            return true;
        }
        if reached(now, self.next_ping) {
            self.next_ping = now.wrapping_add(millis(config.ping_interval));
            self.ping(config, cells, now);
        }
        true
    }

    fn ping(&mut self, config: &Config, cells: &ShardCells, now: u32) {
        match self.out.reply(&envelope::ping(unix_millis()), config.max_outbound_bytes) {
            Queued::All => {
                self.full_pings = 0;
                cells.messages_sent.add(1);
            }
            Queued::Dropped { frames, bytes } => {
                self.full_pings += 1;
                cells.slow_consumer_drops.add(u64::from(frames));
                Dropped::note(&mut self.dropped, frames, bytes);
            }
            Queued::Closed => {}
        }
        let slow = self.full_pings > 0 && config.slow_consumer == SlowConsumer::Close;
        if slow || self.full_pings >= FULL_PINGS {
            cells.zombies.add(1);
            self.close_now(CloseCode::RECONNECT, "slow consumer", now);
        }
    }

    /// When the wheel must visit next.
    pub(crate) fn next_timer(&self, config: &Config, now: u32) -> u32 {
        if self.phase != Phase::Open {
            return self.since_close.wrapping_add(millis(config.close_timeout));
        }
        let idle = self.last_data.wrapping_add(millis(config.idle_timeout));
        let mut next = earlier(self.next_ping, idle);
        if let Some(due) = self.dropped.as_ref().and_then(|dropped| dropped.due(now)) {
            next = earlier(next, due);
        }
        if let Some(until) = self.pressing_until() {
            next = earlier(next, until);
        }
        if self.expires != 0 {
            let seconds = self.expires.saturating_sub(unix_millis() / 1000).min(86_400);
            next = earlier(next, now.wrapping_add(u32::try_from(seconds * 1000).unwrap_or(u32::MAX)));
        }
        next
    }
}

/// Whether `now` is at or past `due`, in wrapping milliseconds.
pub(crate) const fn reached(now: u32, due: u32) -> bool {
    now.wrapping_sub(due) < u32::MAX / 2
}

const fn earlier(a: u32, b: u32) -> u32 {
    if reached(b, a) { a } else { b }
}

/// Durations of the configuration are below 2^31 ms (checked when it is read).
pub(crate) fn millis(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX / 2)
}
