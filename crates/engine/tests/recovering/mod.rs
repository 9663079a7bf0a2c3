//! A model of clients that recover: what they do, what they know, and what they may be sent. Shared by no other test program.

pub(crate) mod client;
pub(crate) mod publishers;
pub(crate) mod world;

/// Clients of one life.
pub(crate) const PEERS: usize = 4;
/// What is published to.
pub(crate) const TOPICS: [&str; 4] = ["a", "ab", "b", "c:d"];
/// Covers the first two of [`TOPICS`].
pub(crate) const PATTERN: &str = "a*";
/// Those.
pub(crate) const COVERED: [usize; 2] = [0, 1];

/// Something that happens.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Both publishers publish, while the next steps happen.
    Publish {
        topic: usize,
        count: usize,
        padding: usize,
        except: Option<usize>,
    },
    /// With the positions it has, or as if it had none.
    Subscribe {
        peer: usize,
        topics: Vec<usize>,
        recover: bool,
    },
    Unsubscribe {
        peer: usize,
        topics: Vec<usize>,
    },
    HoldPattern(usize),
    /// The connection breaks, in the middle of a request perhaps.
    Cut {
        peer: usize,
        asks: bool,
    },
    /// These come back at the same time, and ask for what they missed.
    Return(Vec<usize>),
    /// It reads so many frames, if they come.
    Read {
        peer: usize,
        frames: usize,
    },
    /// It may not have the topic any more, by the host's word or by a new token; perhaps it asks for it first.
    Deny {
        peer: usize,
        topic: usize,
        asks: bool,
    },
    /// It may have all topics.
    Allow(usize),
    /// Milliseconds pass.
    Rest(u64),
    /// Others want memory: so many topics are published to.
    Crowd(usize),
}
