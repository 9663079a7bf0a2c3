//! What topics and subscriptions cost in memory, estimated from the lengths of their names.

use wse_protocol::topic::is_pattern;

/// Bytes of memory an entry takes beside its name: its own, its places in the maps, the list of its subscribers.
const ENTRY_BYTES: usize = 512;
/// Bytes a pattern takes beside that, compiled and in its group.
const PATTERN_BYTES: usize = 128;
/// Bytes one more subscription takes: in the connection's list and in the topic's.
pub(super) const SUBSCRIPTION_BYTES: usize = 64;

/// Bytes a subscription of `name` takes when nobody shares the topic.
pub(super) fn cost(name: &str) -> usize {
    SUBSCRIPTION_BYTES + entry_cost(name, is_pattern(name))
}

/// The name is there twice, in the map and in the entry; a pattern's twice more in its compiled form, mostly not at full length.
/// Measured, 20 and 1000 bytes: 619 and 2,183 bytes of memory an exact name, 527 and 3,492 a pattern.
pub(super) fn entry_cost(name: &str, is_pattern: bool) -> usize {
    match is_pattern {
        false => ENTRY_BYTES + 2 * name.len(),
        true => ENTRY_BYTES + PATTERN_BYTES + 3 * name.len(),
    }
}
