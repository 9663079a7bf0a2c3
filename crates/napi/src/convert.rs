//! Numbers of the border into the engine's types and back.

use std::time::Duration;

use wse_engine::{ConnId, Pressure, Taken};

use crate::error::{ErrorCode, Failure, Outcome};

/// The largest integer JavaScript holds exactly, plus one.
const INTEGER_LIMIT: f64 = 9_007_199_254_740_992.0;

/// A connection's id. What is no id names nobody.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be an integer from 0 to 2^53")]
pub(crate) fn id(conn: f64) -> ConnId {
    let valid = conn.fract() == 0.0 && (0.0..INTEGER_LIMIT).contains(&conn);
    ConnId::from_u64(if valid { conn as u64 } else { 0 })
}

/// A time in seconds, of the option at `path`.
pub(crate) fn seconds(value: f64, path: &str) -> Outcome<Duration> {
    Duration::try_from_secs_f64(value).map_err(|error| Failure::config(error, path))
}

/// A time in milliseconds; what is none counts as 0.
pub(crate) fn millis(value: f64) -> Duration {
    Duration::try_from_secs_f64(value / 1000.0).unwrap_or(Duration::ZERO)
}

/// Bytes taken, 0 for nothing, and below 0 the size in bytes the buffer must have.
#[expect(clippy::cast_precision_loss, reason = "sizes stay far below 2^53")]
pub(crate) const fn crossed(taken: Taken) -> f64 {
    match taken {
        Taken::Nothing => 0.0,
        Taken::Needs(size) => -(size as f64),
        Taken::Bytes(count) => count as f64,
    }
}

/// Whether a message for one connection was taken; false: nobody has this id.
pub(crate) fn taken(sent: Option<Pressure>) -> Outcome<bool> {
    sent.map_or(Ok(false), |pressure| accepted(pressure, SHARD_OVERLOADED).map(|_| true))
}

/// Whether publishing may go on after the engine has taken a message for everybody.
pub(crate) fn below_mark(pressure: Pressure) -> Outcome<bool> {
    accepted(pressure, "the engine holds publisher.hardLimit bytes: nothing was taken")
}

/// What a connection's shard above the hard limit answers.
pub(crate) fn overloaded() -> Failure {
    Failure::new(ErrorCode::Overloaded, SHARD_OVERLOADED)
}

const SHARD_OVERLOADED: &str = "the connection's shard is over the hard limit: nothing was taken";

fn accepted(pressure: Pressure, refused: &str) -> Outcome<bool> {
    match pressure {
        Pressure::Fine => Ok(true),
        Pressure::High => Ok(false),
        Pressure::Refused => Err(Failure::new(ErrorCode::Overloaded, refused)),
    }
}

/// Sizes above 4 GiB do not fit the integers of the border, so they cross as whole floats.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the facade checked the range")]
pub(crate) fn bytes(value: f64) -> usize {
    value as usize
}
