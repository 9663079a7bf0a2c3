//! The exposition as it was last written, so that whoever asks often does not have it written often. Knows no metric.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Who asks within this time gets the same text.
const FRESH: Duration = Duration::from_secs(1);

/// The last text and when it was written.
#[derive(Default)]
pub(crate) struct Scrape(Mutex<Option<(Instant, Arc<str>)>>);

impl Scrape {
    /// The text, written anew with `write` if it is more than a second old.
    pub(crate) fn text(&self, write: impl FnOnce() -> String) -> Arc<str> {
        // Held while it is written: of several threads that ask at once, one writes.
        let mut last = self.0.lock();
        match &*last {
            Some((written, text)) if written.elapsed() < FRESH => Arc::clone(text),
            _ => Arc::clone(&last.insert((Instant::now(), write().into())).1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_once_a_second_at_most() {
        let scrape = Scrape::default();
        assert_eq!(&*scrape.text(|| "first".into()), "first");
        assert_eq!(&*scrape.text(|| unreachable!("it is fresh")), "first");
        scrape.0.lock().as_mut().unwrap().0 -= FRESH;
        assert_eq!(&*scrape.text(|| "second".into()), "second");
    }
}
