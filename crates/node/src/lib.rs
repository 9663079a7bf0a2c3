//! The napi binding: DTOs in, flat batches and plain values out. No logic that could be tested without Node, and no napi
//! call per message: inbound events cross in batches, and so do texts and bytes that are sent and published.
//!
//! What crosses is declared once on the other side, in `ts/src/native/binding.ts`; names and order are the same here.

#![cfg_attr(test, allow(dead_code, unused_imports, reason = "napi registers its exports only where Node loads them"))]
#![allow(unreachable_pub, reason = "napi exports items of private modules")]

mod background;
mod error;
mod hot;
mod jwt;
mod liveness;
mod memory;
mod options;
mod outbox;
mod registry;
mod server;
mod text;
mod wake;

use napi_derive::napi;

/// The number of this border, the same as `BORDER` in `ts/src/version.ts`. Changes with every change of what crosses.
const BORDER: u32 = 4;

/// What the loader compares before it calls anything else.
#[napi]
pub fn border() -> u32 {
    BORDER
}

/// The version of the addon, compared by the loader with the package's.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
