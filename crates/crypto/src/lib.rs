//! The only crate that names a crypto, JWT or TLS library.
//!
//! It owns three things: whether a token is to be believed ([`jwt`]), where in a request the token is found
//! ([`token`]) and how a TCP stream becomes a TLS stream ([`tls`]). It never opens a socket, never reads the
//! clock (the caller passes `now`), never decides what the peer is told, and holds no process-global state.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod jwt;
pub mod tls;
pub mod token;
