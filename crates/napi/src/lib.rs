//! The napi binding: DTOs in, flat batches and plain values out. No logic that could be tested without Node, and no napi
//! call per message: inbound events cross in batches, and so do texts and bytes that are sent and published.
//!
//! What crosses is declared here, and only here: `npm run build` generates `ts/src/native/index.d.ts` from it, doc comments
//! included, and TypeScript uses that.

#![cfg_attr(test, allow(dead_code, unused_imports, reason = "napi registers its exports only where Node loads them"))]
#![allow(unreachable_pub, reason = "napi exports items of private modules")]

mod asking;
mod background;
mod by_hand;
mod connection;
mod convert;
mod error;
mod hot;
mod http;
#[cfg(unix)]
mod inline;
#[cfg(not(unix))]
#[path = "no_inline.rs"]
mod inline;
mod jwt;
mod liveness;
mod memory;
mod options;
mod outbox;
mod outcomes;
mod presence;
mod questions;
mod reading;
mod recovery;
mod recovery_options;
mod registry;
mod server;
mod text;
mod token;
mod upgrade;
#[cfg(unix)]
mod uv;
mod wake;

use napi_derive::napi;

/// The declaration of this border as `npm run build` generates it from these sources; `npm test` fails while it is not
/// what they generate.
const DECLARATION: &[u8] = include_bytes!("../../../ts/src/native/index.d.ts");

/// A hash of the declaration this addon was built with. The loader refuses an addon whose hash is not that of its own
/// declaration (`ts/src/native/abi.ts`), before it calls anything else.
#[napi]
pub fn abi_version() -> String {
    format!("{:016x}", fnv1a(DECLARATION))
}

/// FNV-1a in 64 bits, without carriage returns: a checkout may have added them.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\r' {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        }
        at += 1;
    }
    hash
}

/// The version of the addon, compared by the loader with the package's.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
