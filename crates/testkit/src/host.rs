//! A host that is asked, without JavaScript. Decides nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use wse_engine::Engine;

/// A host that answers each question with what `answer` makes of it, all of a batch at once; null: not at all.
pub struct Host {
    /// Times it was woken.
    pub woken: Arc<AtomicUsize>,
    /// Questions it was told that nobody waits for any more.
    pub gone: Arc<AtomicUsize>,
    /// Questions it was told that it is late with.
    pub late: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Host {
    /// Answers the questions of `engine` until it is dropped.
    ///
    /// # Panics
    /// On its own thread, and then when it is dropped: when a question or an answer is none.
    pub fn of(engine: &Arc<Engine>, answer: impl Fn(&Value) -> Value + Send + 'static) -> Self {
        let (ring, bell): (_, Receiver<()>) = channel();
        let (woken, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let count = Arc::clone(&woken);
        engine.on_questions(Some(Arc::new(move || {
            count.fetch_add(1, SeqCst);
            let _ = ring.send(());
        })));
        let (engine, ended) = (Arc::clone(engine), Arc::clone(&over));
        let (gone, late) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = [(Arc::clone(&gone), "gone"), (Arc::clone(&late), "late")];
        let work = move || {
            while !ended.load(SeqCst) {
                let _ = bell.recv_timeout(Duration::from_millis(20));
                while let Some(batch) = engine.take_questions() {
                    let batch: Value = serde_json::from_str(&batch).unwrap();
                    for (count, name) in &counts {
                        count.fetch_add(batch[name].as_array().unwrap().len(), SeqCst);
                    }
                    let answers: Vec<Value> = batch["asked"].as_array().unwrap().iter().map(&answer).collect();
                    let answers: Vec<&Value> = answers.iter().filter(|answer| !answer.is_null()).collect();
                    assert_eq!(engine.answer(&json!(answers).to_string()).unwrap(), []);
                }
            }
        };
        Self { woken, gone, late, over, thread: Some(std::thread::spawn(work)) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}
