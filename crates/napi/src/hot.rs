//! The calls a host makes per message or per batch, as free functions on an engine's number: at the border a class method
//! costs six times as much (docs/design/border.md). Those of every turn are made by hand (`by_hand.rs`).

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use napi::bindgen_prelude::Object;
use napi::{Env, sys};
use napi_derive::napi;
use wse_engine::{Consumer, Engine, EngineError, Pressure, State};

use crate::by_hand::{Arguments, Call, answer, function};
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

/// The calls of every turn, whose arguments nobody checks but the facade:
///
/// - `takeBatch`: what `onBatch()` announced, for the reader it returned. Bytes written to `out`; 0: nothing there, and the next event
///   wakes the `onBatch` callback once; below 0: the size in bytes `out` must have, and nothing was taken. Never blocks. With `columns`
///   messages of one shape cross as columns.
/// - `state`: where the engine is in its life: 0 created, 1 running, 2 draining, 3 stopped; stopped when it is gone. Never fails.
/// - `room`: bytes that may be published before publishers should wait; below 0, as `-1 - bytes`, publishers should wait, and only so
///   many bytes are taken before the hard limit. Less than `wanted` counts as a refusal.
/// - `handOver`: takes what was collected, in order: `text` of `units` UTF-16 units, `bytes`, and the first `noted` numbers of `notes`,
///   which say what it is (`crates/engine/src/outbox.rs`). Returns what `room` does.
#[napi(
    ts_return_type = "{ takeBatch(reader: number, out: Uint8Array, max: number, columns: boolean): number; state(handle: number): 0 | 1 | 2 | 3; room(handle: number, wanted: number): number; handOver(handle: number, text: string, units: number, bytes: Uint8Array | null, notes: Uint32Array, noted: number): number }"
)]
pub fn turn_calls(env: &Env) -> napi::Result<Object<'_>> {
    let calls: [(&str, Call); 4] =
        [("takeBatch", take_batch), ("state", state), ("room", room), ("handOver", hand_over)];
    let mut object = Object::new(env)?;
    for (name, call) in calls {
        object.set(name, function(env, name, call)?)?;
    }
    Ok(object)
}

unsafe extern "C" fn take_batch(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: N-API calls with an environment and the information of this very call.
    unsafe {
        answer(env, || {
            let arguments = Arguments::<4>::of(env, info)?;
            let (reader, max, columns) = (arguments.u32(0)?, arguments.u32(2)?, arguments.bool(3)?);
            // The facade hands in a buffer of its own that no other thread sees, and JavaScript does not run meanwhile.
            let out = arguments.bytes_mut(1)?;
            Ok(READERS.with_borrow(|readers| {
                let Some(Some(Reader { engine, consumer })) = readers.get(reader as usize) else { return 0.0 };
                engine.upgrade().map_or(0.0, |engine| crossed(engine.take_batch(consumer, max as usize, columns, out)))
            }))
        })
    }
}

unsafe extern "C" fn state(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as above.
    unsafe {
        answer(env, || {
            let handle = Arguments::<1>::of(env, info)?.u32(0)?;
            Ok(f64::from(engine(handle).map_or(State::Stopped, |engine| engine.state()) as u8))
        })
    }
}

unsafe extern "C" fn room(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as above.
    unsafe {
        answer(env, || {
            let arguments = Arguments::<2>::of(env, info)?;
            let (handle, wanted) = (arguments.u32(0)?, arguments.u32(1)?);
            let engine = running(handle).map_err(|failure| failure.thrown(&Env::from_raw(env)))?;
            Ok(room_for(&engine, wanted as usize, engine.pressure()))
        })
    }
}

unsafe extern "C" fn hand_over(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as above. JavaScript does not run while the bytes and notes are read.
    unsafe {
        answer(env, || {
            let arguments = Arguments::<6>::of(env, info)?;
            let (handle, units, noted) = (arguments.u32(0)?, arguments.u32(2)?, arguments.u32(5)?);
            let (text, bytes, notes) = (arguments.text(1)?, arguments.bytes(3)?, arguments.words(4)?);
            let handed = || {
                let engine = running(handle)?;
                let notes = notes.get(..noted as usize).ok_or(wse_engine::outbox::Misfit);
                let pressure = notes
                    .and_then(|notes| outbox::hand_over(&engine, &text, units as usize, bytes, notes))
                    .map_err(|misfit| Failure::new(ErrorCode::Internal, misfit))?;
                work_off(handle, pressure);
                Ok(room_for(&engine, 0, pressure))
            };
            handed().map_err(|failure: Failure| failure.thrown(&Env::from_raw(env)))
        })
    }
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

#[expect(clippy::cast_precision_loss, reason = "below 2^32")]
fn room_for(engine: &Engine, wanted: usize, pressure: Pressure) -> f64 {
    let room = engine.room_for(wanted);
    if pressure == Pressure::Fine && wanted <= room { engine.until_pressure() as f64 } else { -1.0 - room as f64 }
}
