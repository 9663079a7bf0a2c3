//! What an engine does on its port with requests that are no upgrade of its own: answers three of them, and hands the others to
//! its host. Knows no socket and reads no request.

use super::Network;

/// Requests the engine answers or hands over. Every path is compared byte for byte, without the query.
#[derive(Debug, Clone, Default)]
pub struct Http {
    /// 200 while a shard can answer; `None`: no such path.
    pub health: Option<String>,
    /// 200 while upgrades are let in, 503 from the first moment of a drain and while the server is full; `None`: no such path.
    pub ready: Option<String>,
    /// The metrics in the Prometheus text format; `None`: no such path.
    pub metrics: Option<String>,
    /// Who gets an answer; `None`: everybody, but the metrics only this machine.
    pub allow: Option<Vec<Network>>,
    /// All other requests are the host's ([`crate::Engine::take_sockets`]); false: they are refused.
    pub hands_over: bool,
    /// Connections that may wait for the host, each with 16 KiB of its request at most; one more is answered 503.
    pub max_waiting: usize,
}
