//! What an engine call can fail with. Each kind has a stable code that the binding passes on; wire errors live in `protocol`.

use std::io;

/// An engine failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The address is taken (`WSE_ADDR_IN_USE`).
    #[error("{0} is already in use")]
    AddressInUse(String),
    /// The host does not resolve or is not ours (`WSE_ADDR_NOT_AVAILABLE`).
    #[error("cannot bind {address}: {source}")]
    AddressNotAvailable {
        /// What was to be bound.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The system refused (`WSE_PERMISSION`).
    #[error("no permission to bind {0}")]
    Permission(String),
    /// Any other system failure while starting (`WSE_START_FAILED`).
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// The engine was not started yet (`WSE_NOT_RUNNING`).
    #[error("the server is not running: call start() first")]
    NotRunning,
    /// `start` on a running engine (`WSE_ALREADY_RUNNING`).
    #[error("the server is already running")]
    AlreadyRunning,
    /// The engine was stopped and stays so (`WSE_STOPPED`).
    #[error("the server is stopped")]
    Stopped,
    /// A new TLS pair was refused; the old one stays in use (`WSE_TLS_INVALID`).
    #[error("{0}")]
    Tls(String),
}

impl EngineError {
    /// The stable code, part of the public API.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AddressInUse(_) => "WSE_ADDR_IN_USE",
            Self::AddressNotAvailable { .. } => "WSE_ADDR_NOT_AVAILABLE",
            Self::Permission(_) => "WSE_PERMISSION",
            Self::Start(_) => "WSE_START_FAILED",
            Self::NotRunning => "WSE_NOT_RUNNING",
            Self::AlreadyRunning => "WSE_ALREADY_RUNNING",
            Self::Stopped => "WSE_STOPPED",
            Self::Tls(_) => "WSE_TLS_INVALID",
        }
    }
}
