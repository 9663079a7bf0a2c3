//! Two threads that publish what they are told, numbered, and count it. Know no client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use wse_engine::{ConnId, Engine, Payloads};
use wse_testkit::wait_until;

use super::TOPICS;

struct Job {
    topic: usize,
    count: usize,
    padding: usize,
    except: Option<ConnId>,
}

/// The publishers of one life.
pub(crate) struct Publishers {
    threads: Vec<(Sender<Job>, JoinHandle<()>)>,
    unfinished: Arc<AtomicUsize>,
    published: Arc<[AtomicU64; TOPICS.len()]>,
}

impl Publishers {
    pub(crate) fn start(engine: &Arc<Engine>) -> Self {
        let (unfinished, published) = (Arc::default(), Arc::new([const { AtomicU64::new(0) }; TOPICS.len()]));
        let threads = (0..2)
            .map(|name| {
                let (tell, jobs) = channel::<Job>();
                let engine = Arc::clone(engine);
                let (unfinished, published): (Arc<AtomicUsize>, Arc<_>) =
                    (Arc::clone(&unfinished), Arc::clone(&published));
                let thread = std::thread::spawn(move || {
                    let mut number = 0;
                    for Job { topic, count, padding, except } in jobs {
                        let texts: Vec<String> = (0..count)
                            .map(|_| {
                                number += 1;
                                format!(r#"{{"t":"tick","by":{name},"n":{number},"x":"{}"}}"#, "x".repeat(padding))
                            })
                            .collect();
                        // One by one and together.
                        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                        for some in texts.chunks(if count % 2 == 0 { 3 } else { 1 }) {
                            engine.publish(TOPICS[topic], Payloads::Texts(some), except);
                        }
                        count_up(&published, topic, count);
                        unfinished.fetch_sub(1, SeqCst);
                    }
                });
                (tell, thread)
            })
            .collect();
        Self { threads, unfinished, published }
    }

    /// Has both publish, and does not wait for it.
    pub(crate) fn publish(&self, topic: usize, count: usize, padding: usize, except: Option<ConnId>) {
        for (tell, _) in &self.threads {
            self.unfinished.fetch_add(1, SeqCst);
            tell.send(Job { topic, count, padding, except }).unwrap();
        }
    }

    /// Waits until they have nothing to do.
    pub(crate) fn settle(&self) {
        wait_until("all is published", || self.unfinished.load(SeqCst) == 0);
    }

    /// What was published to a topic so far.
    pub(crate) fn published(&self, topic: usize) -> u64 {
        self.published[topic].load(SeqCst)
    }
}

fn count_up(published: &[AtomicU64; TOPICS.len()], topic: usize, count: usize) {
    published[topic].fetch_add(count as u64, SeqCst);
}

impl Drop for Publishers {
    fn drop(&mut self) {
        for (tell, thread) in self.threads.drain(..) {
            drop(tell);
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a publisher has panicked");
        }
    }
}
