//! JavaScript strings as arguments: read into a buffer the thread keeps, so that a message costs neither an allocation nor a
//! second pass over the string for its length.

use std::cell::RefCell;
use std::ops::Deref;

use napi::bindgen_prelude::{FromNapiValue, TypeName, ValidateNapiValue};
use napi::{Status, ValueType, check_status, sys};

/// Strings up to this many bytes are read in one pass.
const FIRST_TRY: usize = 128 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The UTF-8 of a JavaScript string; lone surrogates are U+FFFD.
pub struct Text(Vec<u8>);

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        // SAFETY: `from_napi_value` has checked it, and nothing changes the bytes.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0);
        if bytes.capacity() <= 2 * FIRST_TRY {
            bytes.clear();
            // The thread may be ending: then the buffer just goes.
            let _ = SPARE.try_with(|spare| spare.replace(bytes));
        }
    }
}

impl TypeName for Text {
    fn type_name() -> &'static str {
        "String"
    }
    fn value_type() -> ValueType {
        ValueType::String
    }
}

impl ValidateNapiValue for Text {}

impl FromNapiValue for Text {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        let mut bytes = SPARE.try_with(RefCell::take).unwrap_or_default();
        bytes.reserve(FIRST_TRY);
        // SAFETY: `env` and `value` come from the call that is being served.
        let mut written = unsafe { read(env, value, &mut bytes)? };
        // A character may have been left out at the end: anything close to full is read again with room enough.
        if written + 4 >= bytes.capacity() {
            let mut length = 0;
            // SAFETY: a null buffer asks for the length alone.
            check_status!(unsafe {
                sys::napi_get_value_string_utf8(env, value, std::ptr::null_mut(), 0, &raw mut length)
            })?;
            bytes.reserve(length + 8);
            // SAFETY: as above.
            written = unsafe { read(env, value, &mut bytes)? };
        }
        // SAFETY: N-API has initialised this many bytes.
        unsafe { bytes.set_len(written) };
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(napi::Error::new(Status::StringExpected, "not a string of Unicode text")),
        }
    }
}

/// Reads as much of the string as fits the buffer's capacity; returns the bytes written.
///
/// # Safety
/// `env` and `value` must be valid.
unsafe fn read(env: sys::napi_env, value: sys::napi_value, bytes: &mut Vec<u8>) -> napi::Result<usize> {
    let mut written = 0;
    bytes.clear();
    // SAFETY: the buffer has its capacity; N-API ends the text with a zero within it.
    check_status!(unsafe {
        sys::napi_get_value_string_utf8(env, value, bytes.as_mut_ptr().cast(), bytes.capacity(), &raw mut written)
    })?;
    Ok(written)
}
