//! The few functions of libuv an inline engine needs, found in the process by name: an addon that named them to the linker would
//! not load where they are missing. Owns no state; knows nothing of engines.
//!
//! Handles are opaque memory of the size libuv says. Every call belongs to the thread of the loop.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::sync::OnceLock;

/// A handle of libuv.
pub(crate) type Handle = *mut c_void;
/// What libuv calls for every kind of handle but the poller.
pub(crate) type OnHandle = unsafe extern "C" fn(Handle);
/// What it calls for a poller: status and events.
pub(crate) type OnPoll = unsafe extern "C" fn(Handle, c_int, c_int);

/// `UV_READABLE`.
pub(crate) const READABLE: c_int = 1;

/// `uv_handle_type` of the handles that are made here: the numbers are part of libuv's ABI.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Idle = 6,
    Poll = 8,
    Prepare = 9,
    Timer = 13,
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident: fn($($argument:ty),*) $(-> $result:ty)?,)+) => {
        /// The functions.
        pub(crate) struct Uv {
            $($(#[$doc])* pub(crate) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+
        }

        impl Uv {
            fn find() -> Option<Self> {
                Some(Self {
                    $($name: {
                        const NAME: &CStr = match CStr::from_bytes_with_nul(concat!("uv_", stringify!($name), "\0").as_bytes()) {
                            Ok(name) => name,
                            Err(_) => panic!("a name ends in its only NUL"),
                        };
                        let address = symbol(NAME);
                        if address.is_null() {
                            return None;
                        }
                        // SAFETY: a function of this name has had this signature since libuv 1.19, which is older than any
                        // Node that loads this addon.
                        unsafe { transmute_copy(&address) }
                    },)+
                })
            }
        }
    };
}

functions! {
    handle_size: fn(c_int) -> usize,
    handle_set_data: fn(Handle, *mut c_void),
    handle_get_data: fn(Handle) -> *mut c_void,
    unref: fn(Handle),
    close: fn(Handle, Option<OnHandle>),
    poll_init: fn(*mut c_void, Handle, c_int) -> c_int,
    poll_start: fn(Handle, c_int, OnPoll) -> c_int,
    prepare_init: fn(*mut c_void, Handle) -> c_int,
    prepare_start: fn(Handle, OnHandle) -> c_int,
    idle_init: fn(*mut c_void, Handle) -> c_int,
    idle_start: fn(Handle, OnHandle) -> c_int,
    idle_stop: fn(Handle) -> c_int,
    timer_init: fn(*mut c_void, Handle) -> c_int,
    timer_start: fn(Handle, OnHandle, u64, u64) -> c_int,
    timer_stop: fn(Handle) -> c_int,
}

fn symbol(name: &CStr) -> *mut c_void {
    let name: *const c_char = name.as_ptr();
    // SAFETY: the name ends in NUL; looking it up changes nothing.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name) }
}

impl Uv {
    /// The libuv of this process, if it has one.
    pub(crate) fn get() -> Option<&'static Self> {
        static UV: OnceLock<Option<Uv>> = OnceLock::new();
        UV.get_or_init(Self::find).as_ref()
    }

    fn layout(&self, kind: Kind) -> Layout {
        // SAFETY: a pure function.
        let size = unsafe { (self.handle_size)(kind as c_int) };
        // No handle of libuv is aligned to more than a pointer, and none is larger than some hundred bytes.
        Layout::from_size_align(size, 16).unwrap_or(Layout::new::<[u128; 64]>())
    }

    /// Memory for a handle; [`Self::free`] gives it back.
    pub(crate) fn allocate(&self, kind: Kind) -> Handle {
        let layout = self.layout(kind);
        // SAFETY: the size is not 0.
        let memory = unsafe { alloc_zeroed(layout) };
        if memory.is_null() {
            handle_alloc_error(layout);
        }
        memory.cast()
    }

    /// # Safety
    /// `handle` is of this kind and from [`Self::allocate`], and libuv does not know it: it was never initialised, or its
    /// closing is over.
    pub(crate) unsafe fn free(&self, kind: Kind, handle: Handle) {
        // SAFETY: as the caller says.
        unsafe { dealloc(handle.cast(), self.layout(kind)) };
    }
}
