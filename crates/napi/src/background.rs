//! Calls that wait (start, drain, stop) run on a thread of their own and settle a promise. Neither the JavaScript thread nor
//! libuv's pool is ever blocked by them.

use napi::Env;
use napi::bindgen_prelude::{Object, ToNapiValue};

use crate::error::{ErrorCode, Failure, Outcome};

/// Runs `work` on a new thread and returns the promise of its result.
pub(crate) fn promise<'env, T>(
    env: &'env Env,
    name: &str,
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> napi::Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
{
    promise_then(env, name, work, |_, done| Ok(done))
}

/// Runs `work` on a new thread, then `rest` on the JavaScript thread, and returns the promise of its result.
pub(crate) fn promise_then<'env, D, T>(
    env: &'env Env,
    name: &str,
    work: impl FnOnce() -> Outcome<D> + Send + 'static,
    rest: impl FnOnce(&Env, D) -> Outcome<T> + Send + 'static,
) -> napi::Result<Object<'env>>
where
    D: Send + 'static,
    T: ToNapiValue + Send + 'static,
{
    let (deferred, promise) = env.create_deferred()?;
    std::thread::Builder::new()
        .name(format!("wse-{name}"))
        .spawn(move || {
            let result = work();
            // A failure becomes an error on the JavaScript thread, where one with properties can be made.
            deferred
                .resolve(move |env| result.and_then(|done| rest(&env, done)).map_err(|failure| failure.thrown(&env)));
        })
        .map_err(|error| Failure::new(ErrorCode::Thread, format!("cannot spawn a thread: {error}")).thrown(env))?;
    Ok(promise)
}
