//! The allocator of the Rust side. Only Rust code of this image uses it.

/// Version 2 on purpose: the crate's vendored v3 crashes when several workers load the addon one after the other
/// (docs/dependencies.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    /// Of mimalloc, which `ALLOCATOR` links. Binding it through `libmimalloc-sys` would take its `extended` feature and two crates.
    safe fn mi_collect(force: bool);
}

/// Gives back to the system what this thread has freed.
pub(crate) fn release() {
    mi_collect(true);
}
