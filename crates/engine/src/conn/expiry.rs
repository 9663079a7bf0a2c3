//! The end of a connection's token: announced in time, put off by another token, and then the connection's own.

use wse_protocol::close_code::CloseCode;
use wse_protocol::envelope;

use super::account::Offer;
use super::{Connection, Context};
use crate::clock::unix_millis;
use crate::config::{Auth, Config};
use crate::inbound::Kind;
use crate::registry::Speech;

/// The wheel is asked to come at least so often, seconds: its milliseconds have 32 bits.
const A_DAY: u64 = 86_400;

impl Connection {
    /// Closes it if its token has expired, and returns whether it has; announces it if it is about to.
    pub(super) fn expire(&mut self, context: &mut Context) -> bool {
        let (now, expires) = (unix_millis() / 1000, u64::from(self.expires));
        if now >= expires {
            context.counters.zombies.add(1);
            self.close_after(CloseCode::UNAUTHORIZED, "Token expired", context);
            return true;
        }
        if now >= self.warns_at(&context.shared.config) {
            self.warned = true;
            self.announce(expires - leeway(&context.shared.config), now, context);
        }
        false
    }

    /// When its end is to be announced, Unix seconds; when it comes, if it is not or was announced before.
    fn warns_at(&self, config: &Config) -> u64 {
        let expires = u64::from(self.expires);
        let warning = config.auth.as_ref().map_or(0, |auth| auth.expiry_warning_secs);
        if self.warned || warning == 0 { expires } else { expires.saturating_sub(leeway(config) + warning) }
    }

    /// Milliseconds until the wheel must look at its token.
    pub(super) fn until_expiry(&self, config: &Config) -> u32 {
        let seconds = self.warns_at(config).saturating_sub(unix_millis() / 1000).min(A_DAY);
        u32::try_from(seconds * 1000).unwrap_or(u32::MAX)
    }

    fn announce(&mut self, expires_at: u64, now: u64, context: &mut Context) {
        let expires_in = expires_at.saturating_sub(now);
        let text = format!(r#"{{"expiresAt":{expires_at},"expiresIn":{expires_in}}}"#);
        context.event(self.stream, Kind::AuthExpiring, self.id(), text.as_bytes());
        self.tell(&envelope::auth_expiring(expires_at, expires_in), context);
    }

    /// It has another token, which expires at `expires`, Unix seconds with leeway, 0 = never. Returns when, without it.
    pub(crate) fn renew(&mut self, expires: u64, context: &mut Context) -> Option<u64> {
        self.expires = u32::try_from(expires).unwrap_or(0);
        self.warned = false;
        // A visit that comes too early costs nothing, and floods of tokens must not fill the wheel.
        let due = self.next_timer(&context.shared.config, context.now());
        if !due.has_reached(self.timer) {
            self.rearm(context);
        }
        (expires != 0).then(|| expires - leeway(&context.shared.config))
    }

    /// Says something of the engine's own, unless only the host speaks here.
    pub(crate) fn tell(&mut self, text: &str, context: &mut Context) {
        if self.peer.speech == Speech::Raw {
            return;
        }
        let loss = self.offer(Offer::Reply(text), context);
        if !loss.is_none() {
            self.lose(loss, context);
        }
    }
}

/// The clock difference that is granted, seconds.
fn leeway(config: &Config) -> u64 {
    config.auth.as_ref().map_or(0, |auth: &Auth| auth.leeway_secs)
}
