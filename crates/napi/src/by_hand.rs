//! Functions of N-API made by hand, for the few calls that are made in every turn: the generated ones keep books about borrowed objects,
//! which these do not have. Knows nothing of what is called.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi::bindgen_prelude::{FromNapiValue, Unknown};
use napi::{Env, JsError, Status, check_status, sys};

use crate::text::Text;

/// What N-API calls.
pub(crate) type Call = unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

/// A function for JavaScript.
pub(crate) fn function<'env>(env: &'env Env, name: &str, call: Call) -> napi::Result<Unknown<'env>> {
    let mut made = ptr::null_mut();
    // SAFETY: the environment is that of the call being served, the name is as long as is said.
    unsafe {
        check_status!(sys::napi_create_function(
            env.raw(),
            name.as_ptr().cast(),
            name.len().cast_signed(),
            Some(call),
            ptr::null_mut(),
            &raw mut made,
        ))?;
        Ok(Unknown::from_raw_unchecked(env.raw(), made))
    }
}

/// The number `work` returns, for JavaScript; what it fails with is thrown, and so is a panic.
///
/// # Safety
/// `env` is that of the call being served.
pub(crate) unsafe fn answer(env: sys::napi_env, work: impl FnOnce() -> napi::Result<f64>) -> sys::napi_value {
    let done = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(napi::Error::from_reason("the engine has panicked in this call")));
    let mut value = ptr::null_mut();
    // SAFETY: as the caller says.
    unsafe {
        let made = done.and_then(|number| check_status!(sys::napi_create_double(env, number, &raw mut value)));
        if let Err(error) = made {
            JsError::from(error).throw_into(env);
        }
    }
    value
}

/// The arguments of a call; those left out are `undefined`. They are values of this call and last as long.
pub(crate) struct Arguments<const N: usize> {
    env: sys::napi_env,
    values: [sys::napi_value; N],
}

impl<const N: usize> Arguments<N> {
    /// # Safety
    /// `env` and `info` are those of the call being served, and what is returned does not outlive it.
    pub(crate) unsafe fn of(env: sys::napi_env, info: sys::napi_callback_info) -> napi::Result<Self> {
        let (mut count, mut values) = (N, [ptr::null_mut(); N]);
        // SAFETY: as the caller says; there is room for `count` values.
        unsafe {
            check_status!(sys::napi_get_cb_info(
                env,
                info,
                &raw mut count,
                values.as_mut_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
            ))?;
        }
        Ok(Self { env, values })
    }

    pub(crate) fn u32(&self, at: usize) -> napi::Result<u32> {
        let mut number = 0;
        // SAFETY: a value of the call being served, as `of` demands; the same goes for those below.
        check_status!(unsafe { sys::napi_get_value_uint32(self.env, self.values[at], &raw mut number) })?;
        Ok(number)
    }

    pub(crate) fn bool(&self, at: usize) -> napi::Result<bool> {
        let mut flag = false;
        // SAFETY: as above.
        check_status!(unsafe { sys::napi_get_value_bool(self.env, self.values[at], &raw mut flag) })?;
        Ok(flag)
    }

    pub(crate) fn text(&self, at: usize) -> napi::Result<Text> {
        // SAFETY: as above.
        unsafe { Text::from_napi_value(self.env, self.values[at]) }
    }

    /// A `Uint8Array`, or none of it for `null`.
    ///
    /// # Safety
    /// Nobody writes to it for as long as it is read: neither JavaScript nor another thread.
    pub(crate) unsafe fn bytes(&self, at: usize) -> napi::Result<&[u8]> {
        let mut kind = 0;
        // SAFETY: as above, and as the caller says.
        unsafe {
            check_status!(sys::napi_typeof(self.env, self.values[at], &raw mut kind))?;
            if kind == sys::ValueType::napi_null {
                return Ok(&[]);
            }
            Ok(self.bytes_mut(at)?)
        }
    }

    /// A `Uint8Array` to write to.
    ///
    /// # Safety
    /// Nobody else reads or writes it meanwhile, through another of these either.
    #[expect(clippy::mut_from_ref, reason = "the memory is JavaScript's")]
    pub(crate) unsafe fn bytes_mut(&self, at: usize) -> napi::Result<&mut [u8]> {
        let (data, length) = self.array(at, sys::TypedarrayType::uint8_array)?;
        // SAFETY: N-API says where the array is; as the caller says.
        Ok(if length == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(data.cast(), length) } })
    }

    /// A `Uint32Array`.
    ///
    /// # Safety
    /// As [`Self::bytes`].
    pub(crate) unsafe fn words(&self, at: usize) -> napi::Result<&[u32]> {
        let (data, length) = self.array(at, sys::TypedarrayType::uint32_array)?;
        // SAFETY: as above; an array of words is aligned for them.
        Ok(if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data.cast(), length) } })
    }

    /// Where a typed array of this kind is, and how many elements it has.
    fn array(&self, at: usize, wanted: sys::napi_typedarray_type) -> napi::Result<(*mut c_void, usize)> {
        let (mut kind, mut length, mut data) = (0, 0, ptr::null_mut());
        // SAFETY: as above.
        check_status!(unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                self.values[at],
                &raw mut kind,
                &raw mut length,
                &raw mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        })?;
        if kind == wanted {
            Ok((data, length))
        } else {
            Err(napi::Error::new(Status::InvalidArg, "another kind of array"))
        }
    }
}
