//! Engines of this process by number, so that a worker thread can attach to one: a class instance cannot cross threads, a
//! number can. Holds no engine alive.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Weak};

use dashmap::DashMap;
use wse_engine::Engine;

static ENGINES: LazyLock<DashMap<u32, Weak<Engine>>> = LazyLock::new(DashMap::new);
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Makes an engine known and returns its number, which is never used again.
pub(crate) fn insert(engine: &Arc<Engine>) -> u32 {
    let handle = NEXT.fetch_add(1, Relaxed);
    ENGINES.insert(handle, Arc::downgrade(engine));
    handle
}

/// The engine behind a number, while somebody holds it.
pub(crate) fn find(handle: u32) -> Option<Arc<Engine>> {
    ENGINES.get(&handle)?.upgrade()
}

/// Forgets an engine whose owner is gone.
pub(crate) fn remove(handle: u32) {
    ENGINES.remove(&handle);
}
