//! A reader that stands still, as JavaScript hears of it.

use napi_derive::napi;
use wse_engine::Stall;

/// A reader that has stopped reading while events waited.
#[napi(object, object_from_js = false)]
pub struct NativeStall {
    pub thread: u32,
    pub events: u32,
    pub moved: bool,
}

impl From<Stall> for NativeStall {
    fn from(stall: Stall) -> Self {
        Self { thread: stall.thread, events: u32::try_from(stall.events).unwrap_or(u32::MAX), moved: stall.moved }
    }
}
