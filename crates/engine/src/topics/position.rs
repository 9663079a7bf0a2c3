//! A place in what was published to a topic, as clients name it. Knows no topic.

/// The largest offset: JavaScript counts no further.
const MAX_OFFSET: u64 = (1 << 53) - 1;
/// Hexadecimal digits of an epoch.
const EPOCH_DIGITS: usize = 8;

/// Where a client, or a topic, is: after so many publications of an epoch (docs/protocol.md, "Recovery").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which life of the topic.
    pub epoch: u32,
    /// The last publication that counts, the first being 1; 0: none yet.
    pub offset: u64,
}

impl Position {
    /// The place these name; `None`: an epoch that is not eight hexadecimal digits, or an offset of 2^53 or more.
    pub fn new(epoch: &str, offset: u64) -> Option<Self> {
        let digits = epoch.len() == EPOCH_DIGITS && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits || offset > MAX_OFFSET {
            return None;
        }
        Some(Self { epoch: u32::from_str_radix(epoch, 16).ok()?, offset })
    }

    /// The epoch as clients read it.
    pub fn epoch_text(self) -> String {
        format!("{:08x}", self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_stamp_can_hold_is_a_position() {
        let position = Position::new("0a1B2c3D", (1 << 53) - 1).unwrap();
        assert_eq!((position.epoch, &*position.epoch_text()), (0x0a1b_2c3d, "0a1b2c3d"));
        for (epoch, offset) in
            [("", 0), ("0a1b2c3", 0), ("0a1b2c3d4", 0), ("+a1b2c3d", 0), ("0a1b2c3g", 0), ("0a1b2c3d", 1 << 53)]
        {
            assert_eq!(Position::new(epoch, offset), None, "{epoch} {offset}");
        }
    }
}
