//! The lock of topics' lines and of mailboxes: parking_lot's. In unit tests it can be watched: then `shuttle` decides who gets it, and
//! goes through every order there is (`shared/interleavings.rs`). Nothing of that is in what ships.

#[cfg(not(test))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(test)]
pub(crate) use watched::{Mutex, MutexGuard, watch};

#[cfg(test)]
mod watched {
    use std::cell::Cell;
    use std::ops::{Deref, DerefMut};

    use shuttle::future::batch_semaphore::{BatchSemaphore, Fairness};

    thread_local! {
        static WATCHED: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs `work` in every order in which its threads, `shuttle`'s, can get the locks it has made. Returns how many there are.
    pub(crate) fn watch(work: impl Fn() + Send + Sync + 'static) -> usize {
        WATCHED.set(true);
        let scheduler = shuttle::scheduler::DfsScheduler::new(None, false);
        let orders = shuttle::Runner::new(scheduler, shuttle::Config::default()).run(work);
        WATCHED.set(false);
        orders
    }

    /// As `parking_lot::Mutex`.
    pub(crate) struct Mutex<T> {
        /// Of one that is watched: whose turn it is.
        turn: Option<BatchSemaphore>,
        inner: parking_lot::Mutex<T>,
    }

    /// As `parking_lot::MutexGuard`.
    pub(crate) struct MutexGuard<'a, T> {
        /// Always there until it is dropped, before the turn is given up.
        inner: Option<parking_lot::MutexGuard<'a, T>>,
        turn: Option<&'a BatchSemaphore>,
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            let turn = WATCHED.get().then(|| BatchSemaphore::new(1, Fairness::Unfair));
            Self { turn, inner: parking_lot::Mutex::new(value) }
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            let turn = self.turn.as_ref();
            if let Some(turn) = turn {
                turn.acquire_blocking(1).expect("it is never closed");
            }
            MutexGuard { inner: Some(self.inner.lock()), turn }
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.inner.as_ref().expect("it is locked")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.inner.as_mut().expect("it is locked")
        }
    }

    impl<T> Drop for MutexGuard<'_, T> {
        fn drop(&mut self) {
            self.inner = None;
            if let Some(turn) = self.turn {
                turn.release(1);
            }
        }
    }
}
