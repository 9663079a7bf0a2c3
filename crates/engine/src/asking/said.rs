//! What the host says of an open connection, as it crosses. Decides about nobody.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::id::ConnId;
use crate::topics::Position;

/// Bytes of a reason for a client.
const MAX_REASON: usize = 256;

/// What the host says of a connection. Topics are named by their places in the question.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It may have all topics but these, and why not.
    Refused(Vec<(usize, Option<Box<str>>)>),
    /// The state of some topics.
    States(States),
    /// The host has failed to say.
    Failed,
    /// The host is not asked any more.
    Closed,
}

impl Answer {
    /// Bytes it takes, about.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Refused(topics) => size_of_val(topics.as_slice()),
            Self::States(states) => states.known.iter().map(|(_, text)| text.get().len()).sum(),
            Self::Failed | Self::Closed => 0,
        }
    }
}

/// What the host has answered, on its way to a shard.
pub(crate) struct Answered {
    /// Who waits for it.
    pub(crate) to: ConnId,
    /// The number of the question.
    pub(crate) number: u64,
    pub(crate) answer: Answer,
}

/// The state of topics, where the host knows one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct States {
    /// JSON.
    pub(crate) known: Vec<(usize, Box<RawValue>)>,
    /// Those that cannot be told, and why not.
    pub(crate) unsaid: Vec<(usize, Box<str>)>,
    /// Up to where publications are part of a state: epoch and offset.
    pins: Vec<(usize, Box<str>, u64)>,
}

impl States {
    /// Up to where the publications of a topic are part of its state.
    pub(crate) fn pin(&self, place: usize) -> Option<Position> {
        let (_, epoch, offset) = self.pins.iter().find(|(of, ..)| *of == place)?;
        Position::new(epoch, *offset)
    }
}

/// Reasons are told to clients as they are.
pub(super) fn refused(topics: Vec<(usize, Option<Box<str>>)>) -> Result<Answer, (String, String)> {
    let fits = |reason: &Option<Box<str>>| reason.as_ref().is_none_or(|text| (1..=MAX_REASON).contains(&text.len()));
    match topics.iter().find(|(_, reason)| !fits(reason)) {
        Some((place, _)) => Err((format!("refused[{place}]"), format!("must have 1 to {MAX_REASON} bytes"))),
        None => Ok(Answer::Refused(topics)),
    }
}

/// How an answer gets to who waits for it: called once at most, on any thread, with the number of the question.
pub(crate) type Tell = Box<dyn FnOnce(u64, Answer) + Send>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_and_short() {
        let reason = |text: &str| refused(vec![(4, Some(text.into()))]);
        assert!(refused(vec![(0, None)]).is_ok() && reason("no").is_ok() && reason(&"x".repeat(MAX_REASON)).is_ok());
        for wrong in ["", &"x".repeat(MAX_REASON + 1)] {
            assert_eq!(reason(wrong).unwrap_err().0, "refused[4]");
        }
    }

    #[test]
    fn a_pin_that_is_no_position_is_none() {
        let text = r#"{"known":[[0,{"a":1}],[1,2]],"unsaid":[],"pins":[[0,"0a1b2c3d",7],[1,"x",7]]}"#;
        let states: States = serde_json::from_str(text).unwrap();
        assert_eq!(states.known[0].1.get(), r#"{"a":1}"#);
        assert_eq!((states.pin(0), states.pin(1), states.pin(2)), (Position::new("0a1b2c3d", 7), None, None));
    }
}
