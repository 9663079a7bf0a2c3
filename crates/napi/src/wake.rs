//! Wakes into JavaScript: unreferenced thread-safe functions with a queue of one. They carry no data and never keep a
//! process alive; a full queue means that a wake is on its way already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;

/// A wake as the engine calls it.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Makes a wake out of a JavaScript function.
pub(crate) fn from_function(callback: &Function<'_, (), ()>) -> napi::Result<Wake> {
    let function = callback
        .build_threadsafe_function::<()>()
        .weak::<true>()
        .max_queue_size::<1>()
        .callee_handled::<false>()
        .build()?;
    let closing = AtomicBool::new(false);
    Ok(Arc::new(move || {
        // Once its environment is closing it must not be called again: a producer that ignores this aborts the process.
        if !closing.load(Relaxed) && function.call((), ThreadsafeFunctionCallMode::NonBlocking) == Status::Closing {
            closing.store(true, Relaxed);
        }
    }))
}
