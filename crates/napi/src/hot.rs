//! The calls a host makes per message or per batch, as free functions on an engine's number: at the border a class method
//! costs six times as much (docs/performance.md, "The border"). Also the small conversions they share with the class.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use napi_derive::napi;
use wse_engine::{ConnId, Engine, Pressure, State};

use crate::liveness::LivenessTable;
use crate::text::Text;
use crate::{error, outbox, registry};

/// The largest integer JavaScript holds exactly, plus one.
const INTEGER_LIMIT: f64 = 9_007_199_254_740_992.0;

thread_local! {
    /// The engine this thread called last. Weak: a thread that stays must not keep an engine alive.
    static LAST: RefCell<(u32, Weak<Engine>)> = const { RefCell::new((0, Weak::new())) };
}

/// The engine behind a number; `None` once its owner is gone.
fn engine(handle: u32) -> Option<Arc<Engine>> {
    LAST.with_borrow_mut(|(last, engine)| {
        if *last == handle
            && let Some(engine) = engine.upgrade()
        {
            return Some(engine);
        }
        let found = registry::find(handle)?;
        (*last, *engine) = (handle, Arc::downgrade(&found));
        Some(found)
    })
}

fn running(handle: u32) -> napi::Result<Arc<Engine>> {
    let engine = engine(handle).ok_or_else(|| error::engine(wse_engine::EngineError::Stopped))?;
    engine.check_running().map_err(error::engine)?;
    Ok(engine)
}

/// Where the engine is in its life; stopped when it is gone.
#[napi]
pub fn state(handle: u32) -> u8 {
    engine(handle).map_or(State::Stopped, |engine| engine.state()) as u8
}

/// Sends a text to one connection; false: nobody has this id.
#[napi]
pub fn send(handle: u32, conn: f64, text: Text) -> napi::Result<bool> {
    taken(running(handle)?.send(id(conn), &text))
}

/// Sends bytes to one connection; false: nobody has this id.
#[napi]
pub fn send_bytes(handle: u32, conn: f64, bytes: &[u8]) -> napi::Result<bool> {
    taken(running(handle)?.send_bytes(id(conn), bytes))
}

/// Takes what the facade has collected; see `handOver` in `ts/src/native/binding.ts`. Returns what [`room`] does.
#[napi]
pub fn hand_over(
    handle: u32,
    text: Text,
    units: u32,
    bytes: Option<&[u8]>,
    notes: &[u32],
    noted: u32,
) -> napi::Result<f64> {
    let engine = running(handle)?;
    let bytes = bytes.unwrap_or_default();
    let pressure = notes
        .get(..noted as usize)
        .and_then(|notes| outbox::hand_over(&engine, &text, units as usize, bytes, notes))
        .ok_or_else(|| error::coded("WSE_INTERNAL", "what was collected and its notes do not add up", ""))?;
    Ok(room_for(&engine, 0, pressure))
}

/// Who may be sent to: one 32-bit word per slot, shard after shard.
#[napi(ts_return_type = "ArrayBuffer | null")]
pub fn liveness(handle: u32) -> napi::Result<LivenessTable> {
    Ok(LivenessTable(Arc::clone(running(handle)?.liveness())))
}

/// Words of one shard in [`liveness`].
#[napi]
pub fn liveness_per_shard(handle: u32) -> napi::Result<u32> {
    Ok(u32::try_from(running(handle)?.liveness().per_shard()).unwrap_or(0))
}

/// Bytes that may be published before the hard limit; below 0, as `-1 - bytes`, above the high-water mark. Less than
/// `wanted` counts as a refusal.
#[napi]
pub fn room(handle: u32, wanted: u32) -> napi::Result<f64> {
    let engine = running(handle)?;
    Ok(room_for(&engine, wanted as usize, engine.pressure()))
}

#[expect(clippy::cast_precision_loss, reason = "below 2^32")]
fn room_for(engine: &Engine, wanted: usize, pressure: Pressure) -> f64 {
    // Nothing waits: a message of any size is taken.
    let room = engine.room_for(wanted).map_or(INTEGER_LIMIT - 1.0, |bytes| bytes as f64);
    if pressure == Pressure::Fine { room } else { -1.0 - room }
}

/// Reads a connection id. What is no id names nobody.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be an integer from 0 to 2^53")]
pub(crate) fn id(conn: f64) -> ConnId {
    let valid = conn.fract() == 0.0 && (0.0..INTEGER_LIMIT).contains(&conn);
    ConnId::from_u64(if valid { conn as u64 } else { 0 })
}

pub(crate) fn overloaded() -> napi::Error {
    error::coded("WSE_OVERLOADED", "the connection's shard is over the hard limit: nothing was taken", "")
}

pub(crate) fn taken(sent: Option<Pressure>) -> napi::Result<bool> {
    match sent {
        None => Ok(false),
        Some(Pressure::Refused) => Err(overloaded()),
        Some(Pressure::Fine | Pressure::High) => Ok(true),
    }
}

/// Pressure as a number: 0, 1, or -1 for refused.
pub(crate) const fn scale(pressure: Pressure) -> i32 {
    match pressure {
        Pressure::Fine => 0,
        Pressure::High => 1,
        Pressure::Refused => -1,
    }
}
