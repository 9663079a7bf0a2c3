//! RFC 6455 frames as a client sees them: server frames parsed in place, client frames built masked.

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// No peer here sends more in one frame; a larger length means that the stream is out of step.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;

/// What the front of a byte stream holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// One whole frame and the bytes it took.
    Frame { opcode: u8, payload: &'a [u8], taken: usize },
    /// Not yet a whole frame.
    Partial,
    /// Not a frame this generator's peers may send.
    Bad(&'static str),
}

/// Reads the frame at the front of `bytes`.
#[inline]
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let [first, second, rest @ ..] = bytes else { return Parsed::Partial };
    if first & 0x70 != 0 {
        return Parsed::Bad("reserved bits set");
    }
    if second & 0x80 != 0 {
        return Parsed::Bad("server frame is masked");
    }
    if first & 0x80 == 0 {
        return Parsed::Bad("fragmented message");
    }
    let (head, len) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (10, usize::try_from(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])).unwrap_or(usize::MAX))
        }
        (126 | 127, _) => return Parsed::Partial,
        (len, _) => (2, usize::from(len)),
    };
    if len > MAX_PAYLOAD {
        return Parsed::Bad("frame longer than 1 MiB");
    }
    match bytes.get(head..head + len) {
        Some(payload) => Parsed::Frame { opcode: first & 0x0f, payload, taken: head + len },
        None => Parsed::Partial,
    }
}

/// The four header bytes of an unmasked text frame whose payload is `size` long, for sizes with a 16-bit length.
pub(crate) fn text_header(size: usize) -> Option<[u8; 4]> {
    let len = u16::try_from(size).ok().filter(|len| *len > 125)?;
    let [high, low] = len.to_be_bytes();
    Some([0x80 | TEXT, 126, high, low])
}

/// Appends one masked client frame to `out`.
pub(crate) fn push_masked(out: &mut Vec<u8>, opcode: u8, key: [u8; 4], payload: &[u8]) {
    out.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ 0..=125), _) => out.push(0x80 | len),
        (_, Ok(len)) => {
            out.push(0x80 | 126);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        push_masked(&mut masked, opcode, [0; 4], payload);
        let key_at = masked.len() - payload.len() - 4;
        masked.drain(key_at..key_at + 4);
        masked[1] &= 0x7f;
        masked
    }

    #[test]
    fn every_length_form_survives_every_split() {
        for len in [0, 1, 125, 126, 127, 300, 65_535, 65_536, 70_000] {
            let payload: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
            let frame = server_frame(TEXT, &payload);
            let cuts = (0..frame.len().min(20)).chain([frame.len() - 1]);
            for cut in cuts.filter(|cut| *cut < frame.len()) {
                assert_eq!(parse(&frame[..cut]), Parsed::Partial, "len {len} cut {cut}");
            }
            assert_eq!(parse(&frame), Parsed::Frame { opcode: TEXT, payload: &payload, taken: frame.len() });
        }
    }

    #[test]
    fn frames_follow_each_other() {
        let mut bytes = server_frame(TEXT, b"one");
        bytes.extend(server_frame(PING, b""));
        bytes.extend(server_frame(BINARY, &[7; 200]));
        let (mut at, mut seen) = (0, Vec::new());
        while let Parsed::Frame { opcode, payload, taken } = parse(&bytes[at..]) {
            seen.push((opcode, payload.len()));
            at += taken;
        }
        assert_eq!(seen, [(TEXT, 3), (PING, 0), (BINARY, 200)]);
        assert_eq!(at, bytes.len());
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        assert_eq!(parse(&[0xc1, 0]), Parsed::Bad("reserved bits set"));
        assert_eq!(parse(&[0x81, 0x80]), Parsed::Bad("server frame is masked"));
        assert_eq!(parse(&[0x01, 0]), Parsed::Bad("fragmented message"));
        assert_eq!(parse(&[0x81, 127, 0, 0, 0, 0, 0, 0x10, 0, 1]), Parsed::Bad("frame longer than 1 MiB"));
        assert_eq!(parse(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255]), Parsed::Bad("frame longer than 1 MiB"));
    }

    #[test]
    fn header_of_a_fixed_size() {
        assert_eq!(text_header(125), None);
        assert_eq!(text_header(65_536), None);
        let payload = [b'x'; 4096];
        assert_eq!(text_header(4096).unwrap(), server_frame(TEXT, &payload)[..4]);
    }

    #[test]
    fn mask_is_applied_from_the_first_byte() {
        let mut out = Vec::new();
        push_masked(&mut out, TEXT, [1, 2, 3, 4], b"hello");
        assert_eq!(out, [0x81, 0x85, 1, 2, 3, 4, b'h' ^ 1, b'e' ^ 2, b'l' ^ 3, b'l' ^ 4, b'o' ^ 1]);
    }
}
