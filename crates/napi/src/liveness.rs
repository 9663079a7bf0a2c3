//! The engine's table of who may be sent to, as an `ArrayBuffer` over its own memory: JavaScript reads it, the shards write it.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use napi::bindgen_prelude::ToNapiValue;
use napi::{check_status, sys};
use wse_engine::Liveness;

/// Crosses as an `ArrayBuffer`, or as null where the runtime allows none over foreign memory (Electron).
pub struct LivenessTable(pub(crate) Arc<Liveness>);

impl ToNapiValue for LivenessTable {
    unsafe fn to_napi_value(env: sys::napi_env, Self(liveness): Self) -> napi::Result<sys::napi_value> {
        let words = liveness.words();
        let (data, length) = (words.as_ptr().cast_mut().cast::<c_void>(), size_of_val(words));
        let held = Arc::into_raw(liveness).cast_mut().cast::<c_void>();
        let mut value = ptr::null_mut();
        // SAFETY: `env` is that of the call being served. The words live as long as the `Arc` that `release` gives back, never
        // move, and are atomics: what JavaScript reads while a shard writes is the old word or the new one. Several buffers, one
        // per facade, may stand over them: each has a count of its own, and none leaves the facade, where it is only read.
        let status =
            unsafe { sys::napi_create_external_arraybuffer(env, data, length, Some(release), held, &raw mut value) };
        if status == sys::Status::napi_no_external_buffers_allowed {
            // SAFETY: with this status alone it is certain that nobody has taken it, nor called `release`.
            drop(unsafe { Arc::from_raw(held.cast::<Liveness>()) });
            // SAFETY: as above.
            check_status!(unsafe { sys::napi_get_null(env, &raw mut value) })?;
        } else {
            check_status!(status, "no buffer over the table of connections")?;
        }
        Ok(value)
    }
}

/// Called once, when the buffer is collected or its environment ends.
unsafe extern "C" fn release(_env: sys::napi_env, _data: *mut c_void, held: *mut c_void) {
    // SAFETY: `held` is what `to_napi_value` made of an `Arc`.
    drop(unsafe { Arc::from_raw(held.cast::<Liveness>()) });
}
