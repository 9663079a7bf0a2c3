//! Calls that wait (start, drain, stop) run on a thread of their own and settle a promise. Neither the JavaScript thread nor
//! libuv's pool is ever blocked by them.

use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, Error, Result};

/// Runs `work` on a new thread and returns the promise of its result.
pub(crate) fn promise<'env, T>(
    env: &'env Env,
    name: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
{
    let (deferred, promise) = env.create_deferred()?;
    std::thread::Builder::new()
        .name(format!("wse-{name}"))
        .spawn(move || match work() {
            Ok(value) => deferred.resolve(move |_| Ok(value)),
            Err(error) => deferred.reject(error),
        })
        .map_err(|error| Error::from_reason(format!("WSE_THREAD|cannot spawn a thread: {error}|")))?;
    Ok(promise)
}
