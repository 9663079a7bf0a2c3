//! Connections whose first request is the host's, on their way from a shard to the host: a bounded queue, and one wake for as many
//! as wait. Reads and writes no socket; what waits at the end is closed.

use std::collections::VecDeque;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;

/// Where a socket comes from, as the engine has judged its first request and is to judge each later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The peer's address, or the client's whom a trusted proxy has named in the header of the PROXY protocol; `None`: it came
    /// through a file, and is on this machine.
    pub address: Option<IpAddr>,
    /// Only requests for this machine, by a name of its own, are answered.
    pub loopback: bool,
}

/// A connection that is the host's from here on.
#[derive(Debug)]
pub struct Released {
    /// Its socket, which does not block and which nothing watches any more.
    pub stream: TcpStream,
    /// What was read of its first request; the rest is still in the socket.
    pub head: Vec<u8>,
    /// Where it comes from, which the socket itself need not know.
    pub source: Source,
}

/// Called, from any thread, when connections wait.
type Wake = Arc<dyn Fn() + Send + Sync>;

/// The queue.
pub(crate) struct Outlet {
    /// Connections that may wait.
    max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Released>,
    wake: Option<Wake>,
    /// The host takes no more.
    closed: bool,
}

impl Outlet {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, state: Mutex::default() }
    }

    /// Whether one more would be taken now.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.state.lock();
        !state.closed && state.waiting.len() < self.max
    }

    /// Adds a connection, and wakes the host if it is the first that waits.
    ///
    /// # Errors
    /// The queue is full or the host takes no more: here it is again.
    pub(crate) fn offer(&self, handed: Released) -> Result<(), Released> {
        let mut state = self.state.lock();
        if state.closed || state.waiting.len() >= self.max {
            return Err(handed);
        }
        state.waiting.push_back(handed);
        let wake = (state.waiting.len() == 1).then(|| state.wake.clone()).flatten();
        drop(state);
        if let Some(wake) = wake {
            wake();
        }
        Ok(())
    }

    /// Takes up to `max`, those that wait longest. Whoever gets `max` takes again: the next wake comes only after an empty queue.
    pub(crate) fn take(&self, max: usize) -> Vec<Released> {
        let mut state = self.state.lock();
        let count = max.min(state.waiting.len());
        state.waiting.drain(..count).collect()
    }

    /// Sets what is called when connections wait, at once if some do.
    pub(crate) fn on_waiting(&self, wake: Wake) {
        let mut state = self.state.lock();
        state.wake = Some(Arc::clone(&wake));
        let waits = !state.waiting.is_empty();
        drop(state);
        if waits {
            wake();
        }
    }

    /// Takes no more from now on; returns those that waited.
    pub(crate) fn close(&self) -> VecDeque<Released> {
        let mut state = self.state.lock();
        state.closed = true;
        state.wake = None;
        std::mem::take(&mut state.waiting)
    }

    /// Connections that may wait.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Connections that wait.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    fn handed(listener: &TcpListener) -> Released {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Released { stream, head: b"GET".to_vec(), source: Source { address: None, loopback: false } }
    }

    #[test]
    fn one_wake_for_all_that_wait_and_none_is_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let queue = Outlet::new(10);
        let rung = Arc::new(AtomicUsize::new(0));
        queue.offer(handed(&listener)).unwrap();
        let bell = Arc::clone(&rung);
        queue.on_waiting(Arc::new(move || {
            bell.fetch_add(1, SeqCst);
        }));
        assert_eq!(rung.load(SeqCst), 1, "who waited before the host listened");
        for _ in 0..3 {
            queue.offer(handed(&listener)).unwrap();
        }
        assert_eq!((rung.load(SeqCst), queue.len()), (1, 4));
        assert_eq!((queue.take(3).len(), queue.take(3).len(), queue.take(3).len()), (3, 1, 0));
        queue.offer(handed(&listener)).unwrap();
        assert_eq!(rung.load(SeqCst), 2);
        assert_eq!(queue.close().len(), 1);
        assert!(!queue.has_room() && queue.offer(handed(&listener)).is_err());
    }

    #[test]
    fn who_finds_it_full_is_given_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let queue = Outlet::new(2);
        for _ in 0..2 {
            assert!(queue.has_room());
            queue.offer(handed(&listener)).unwrap();
        }
        let back = queue.offer(handed(&listener)).unwrap_err();
        assert!(!queue.has_room() && back.head == b"GET" && queue.len() == 2);
        assert_eq!(queue.take(1).len(), 1);
        queue.offer(back).unwrap();
    }
}
