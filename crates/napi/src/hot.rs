//! The calls a host makes per message or per batch, as free functions on an engine's number: at the border a class method
//! costs six times as much (docs/design/border.md).

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use napi::Env;
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use wse_engine::{Consumer, Engine, EngineError, Pressure, State};

use crate::convert::{crossed, id, taken};
use crate::error::{ErrorCode, Failure, Outcome};
use crate::liveness::LivenessTable;
use crate::text::Text;
use crate::{inline, outbox, registry};

thread_local! {
    /// The readers of this thread by their numbers.
    static READERS: RefCell<Vec<Option<Reader>>> = const { RefCell::new(Vec::new()) };
    /// The engine this thread called last. Weak: a thread that stays must not keep an engine alive.
    static LAST: RefCell<(u32, Weak<Engine>)> = const { RefCell::new((0, Weak::new())) };
}

/// What one facade of this thread reads. Weak: a thread that stays must not keep an engine alive.
struct Reader {
    engine: Weak<Engine>,
    consumer: Arc<Consumer>,
}

/// Gives a reader of this thread a number, which is used again once it was given back.
pub(crate) fn add_reader(engine: &Arc<Engine>, consumer: &Arc<Consumer>) -> u32 {
    READERS.with_borrow_mut(|readers| {
        let reader = Some(Reader { engine: Arc::downgrade(engine), consumer: Arc::clone(consumer) });
        let number = readers.iter().position(Option::is_none).unwrap_or(readers.len());
        match readers.get_mut(number) {
            Some(place) => *place = reader,
            None => readers.push(reader),
        }
        u32::try_from(number).unwrap_or(u32::MAX)
    })
}

/// Takes the number of a reader back.
pub(crate) fn remove_reader(number: u32) {
    // At the end of the thread they may be gone already.
    let _ = READERS.try_with(|readers| {
        if let Some(place) = readers.borrow_mut().get_mut(number as usize) {
            *place = None;
        }
    });
}

/// What `onBatch()` announced, for the reader it returned. Bytes written to `out`; 0: nothing there, and the next event wakes the
/// `onBatch` callback once; below 0: the size in bytes `out` must have, and nothing was taken. Never blocks. With `columns`
/// messages of one shape cross as columns.
#[napi]
pub fn take_batch(reader: u32, mut out: Uint8Array, max: u32, columns: bool) -> f64 {
    // SAFETY: the facade hands in a buffer of its own that no other thread sees, and JavaScript does not run meanwhile.
    let out = unsafe { out.as_mut() };
    READERS.with_borrow(|readers| {
        let Some(Some(Reader { engine, consumer })) = readers.get(reader as usize) else { return 0.0 };
        engine.upgrade().map_or(0.0, |engine| crossed(engine.take_batch(consumer, max as usize, columns, out)))
    })
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

fn running(handle: u32) -> Outcome<Arc<Engine>> {
    let engine = engine(handle).ok_or(EngineError::Stopped)?;
    engine.check_running()?;
    Ok(engine)
}

/// Where the engine is in its life: 0 created, 1 running, 2 draining, 3 stopped; stopped when it is gone. Never fails.
#[napi(ts_return_type = "0 | 1 | 2 | 3")]
pub fn state(handle: u32) -> u8 {
    engine(handle).map_or(State::Stopped, |engine| engine.state()) as u8
}

/// Sends a text to one connection; false: nobody has this id.
#[napi]
pub fn send(env: &Env, handle: u32, conn: f64, #[napi(ts_arg_type = "string")] text: Text) -> napi::Result<bool> {
    let sent = || {
        let pressure = running(handle)?.send(id(conn), &text);
        work_off(handle, pressure.unwrap_or(Pressure::Fine));
        taken(pressure)
    };
    sent().map_err(|failure: Failure| failure.thrown(env))
}

/// Sends bytes to one connection; false: nobody has this id.
#[napi]
pub fn send_bytes(env: &Env, handle: u32, conn: f64, bytes: &[u8]) -> napi::Result<bool> {
    let sent = || {
        let pressure = running(handle)?.send_bytes(id(conn), bytes);
        work_off(handle, pressure.unwrap_or(Pressure::Fine));
        taken(pressure)
    };
    sent().map_err(|failure: Failure| failure.thrown(env))
}

/// Takes what was collected, in order: `text` of `units` UTF-16 units, `bytes`, and the first `noted` numbers of `notes`,
/// which say what it is (`crates/engine/src/outbox.rs`). Returns what `room()` does.
#[napi]
pub fn hand_over(
    env: &Env,
    handle: u32,
    #[napi(ts_arg_type = "string")] text: Text,
    units: u32,
    #[napi(ts_arg_type = "Uint8Array | null")] bytes: Option<&[u8]>,
    notes: &[u32],
    noted: u32,
) -> napi::Result<f64> {
    let handed = || {
        let engine = running(handle)?;
        let notes = notes.get(..noted as usize).ok_or(wse_engine::outbox::Misfit);
        let pressure = notes
            .and_then(|notes| outbox::hand_over(&engine, &text, units as usize, bytes.unwrap_or_default(), notes))
            .map_err(|misfit| Failure::new(ErrorCode::Internal, misfit))?;
        work_off(handle, pressure);
        Ok(room_for(&engine, 0, pressure))
    };
    handed().map_err(|failure: Failure| failure.thrown(env))
}

/// Lets an engine of this thread work off what it was just given, if that is much: nothing else does while JavaScript runs.
pub(crate) fn work_off(handle: u32, pressure: Pressure) {
    if pressure != Pressure::Fine
        && let Some(host) = inline::find(handle)
    {
        host.work_off();
    }
}

/// The engine's own memory of who may be sent to, kept up to date: one 32-bit word per slot, shard after shard, the
/// generation of the connection that is open there or 0. null: this runtime allows no such memory.
#[napi(ts_return_type = "ArrayBuffer | null")]
pub fn liveness(env: &Env, handle: u32) -> napi::Result<LivenessTable> {
    let engine = running(handle).map_err(|failure| failure.thrown(env))?;
    Ok(LivenessTable(Arc::clone(engine.liveness())))
}

/// Words of one shard in `liveness()`.
#[napi]
pub fn liveness_per_shard(env: &Env, handle: u32) -> napi::Result<u32> {
    let engine = running(handle).map_err(|failure| failure.thrown(env))?;
    Ok(u32::try_from(engine.liveness().per_shard()).unwrap_or(0))
}

/// Bytes that may be published before publishers should wait; below 0, as `-1 - bytes`, publishers should wait, and only so
/// many bytes are taken before the hard limit. Less than `wanted` counts as a refusal.
#[napi]
pub fn room(env: &Env, handle: u32, wanted: u32) -> napi::Result<f64> {
    let engine = running(handle).map_err(|failure| failure.thrown(env))?;
    Ok(room_for(&engine, wanted as usize, engine.pressure()))
}

#[expect(clippy::cast_precision_loss, reason = "below 2^32")]
fn room_for(engine: &Engine, wanted: usize, pressure: Pressure) -> f64 {
    let room = engine.room_for(wanted);
    if pressure == Pressure::Fine && wanted <= room { engine.until_pressure() as f64 } else { -1.0 - room as f64 }
}
