//! The paths clients have come in by, each kept once and named by a number: most connections of a server share a few. Bounded:
//! whoever comes by one too many, or by a very long one, keeps it alone.

use indexmap::IndexSet;
use parking_lot::RwLock;

/// Paths kept, at most.
const PATHS: usize = 1024;
/// Bytes of one that is kept, at most.
const PATH_BYTES: usize = 256;

/// The paths.
#[derive(Default)]
pub(super) struct Paths(RwLock<IndexSet<Box<str>, foldhash::fast::RandomState>>);

impl Paths {
    /// The number of `path`, never 0; `None` when it is not kept.
    pub(super) fn number(&self, path: &str) -> Option<u16> {
        let known = self.0.read().get_index_of(path);
        let index = known.or_else(|| {
            let mut paths = self.0.write();
            (paths.len() < PATHS && path.len() <= PATH_BYTES).then(|| paths.insert_full(path.into()).0)
        });
        index.and_then(|index| u16::try_from(index + 1).ok())
    }

    /// The path with this number.
    pub(super) fn path(&self, number: u16) -> Option<Box<str>> {
        self.0.read().get_index(usize::from(number).checked_sub(1)?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_path_has_the_same_number_and_one_too_many_has_none() {
        let paths = Paths::default();
        let numbers: Vec<_> = (0..PATHS).map(|n| paths.number(&format!("/{n}"))).collect();
        assert!(numbers.iter().all(|number| number.is_some_and(|number| number != 0)));
        assert_eq!(paths.number("/7"), numbers[7]);
        assert_eq!(paths.path(numbers[7].unwrap()).as_deref(), Some("/7"));
        assert_eq!((paths.number("/new"), paths.path(0)), (None, None));
        assert_eq!(Paths::default().number(&"x".repeat(PATH_BYTES + 1)), None);
    }
}
