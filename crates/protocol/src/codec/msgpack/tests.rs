//! Unit tests of the MessagePack codec; round trips of random values are in `tests/codec_props.rs`.

use super::*;

const LIMITS: MsgpackLimits = MsgpackLimits { max_out: 1 << 20, max_depth: 64, max_elements: 100_000 };

fn json(input: &[u8]) -> Result<String, CodecError> {
    to_json(input, LIMITS).map(|out| String::from_utf8(out).unwrap())
}

#[test]
fn every_marker() {
    let cases: &[(&[u8], &str)] = &[
        (&[0xc0], "null"),
        (&[0xc2], "false"),
        (&[0xc3], "true"),
        (&[0x00], "0"),
        (&[0x7f], "127"),
        (&[0xff], "-1"),
        (&[0xe0], "-32"),
        (&[0xcc, 0xff], "255"),
        (&[0xcd, 0xff, 0xff], "65535"),
        (&[0xce, 0xff, 0xff, 0xff, 0xff], "4294967295"),
        (&[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "18446744073709551615"),
        (&[0xd0, 0x80], "-128"),
        (&[0xd1, 0x80, 0x00], "-32768"),
        (&[0xd2, 0x80, 0, 0, 0], "-2147483648"),
        (&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808"),
        (&[0xca, 0x3f, 0xc0, 0, 0], "1.5"),
        (&[0xca, 0x7f, 0xc0, 0, 0], "null"),
        (&[0xcb, 0x40, 0x09, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18], "3.141592653589793"),
        (&[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], "null"),
        (b"\xa0", "\"\""),
        (b"\xa5hello", "\"hello\""),
        (b"\xd9\x02hi", "\"hi\""),
        (b"\xda\x00\x02hi", "\"hi\""),
        (b"\xdb\x00\x00\x00\x02hi", "\"hi\""),
        (b"\xa9a\"b\\c\n\x01\x7f/", "\"a\\\"b\\\\c\\n\\u0001\x7f/\""),
        (b"\xa2\xff\xfe", "\"\""),
        (b"\xc4\x02\x0f\xa0", "\"0fa0\""),
        (b"\xc5\x00\x01\xff", "\"ff\""),
        (b"\xc6\x00\x00\x00\x00", "\"\""),
        (b"\xd4\x05\xab", "\"ab\""),
        (b"\xd6\xff\x00\x00\x00\x01", "\"00000001\""),
        (b"\xc7\x03\x01abc", "\"616263\""),
        (b"\xc8\x00\x01\x01a", "\"61\""),
        (b"\xc9\x00\x00\x00\x01\x01a", "\"61\""),
        (&[0x90], "[]"),
        (&[0x93, 1, 0x91, 2, 0x80], "[1,[2],{}]"),
        (&[0xdc, 0, 1, 0xc0], "[null]"),
        (&[0xdd, 0, 0, 0, 1, 0xc0], "[null]"),
        (b"\x82\xa1a\x01\xa1b\x90", r#"{"a":1,"b":[]}"#),
        (b"\xde\x00\x01\xa1a\x01", r#"{"a":1}"#),
        (b"\xdf\x00\x00\x00\x01\xa1a\x81\xa1b\xc0", r#"{"a":{"b":null}}"#),
    ];
    for (input, expected) in cases {
        assert_eq!(json(input).as_deref(), Ok(*expected), "{input:02x?}");
        for end in 0..input.len() {
            assert_eq!(json(&input[..end]), Err(CodecError::Truncated), "{:02x?}", &input[..end]);
        }
        assert_eq!(json(&[*input, &[0xc0]].concat()), Err(CodecError::TrailingData), "{input:02x?}");
    }
    assert_eq!(json(&[0xc1]), Err(CodecError::Corrupt));
}

#[test]
fn keys_become_text() {
    for (key, text) in [
        (&[5][..], "\"5\""),
        (&[0xff], "\"-1\""),
        (&[0xc0], "\"null\""),
        (&[0xc3], "\"true\""),
        (&[0xca, 0x3f, 0xc0, 0, 0], "\"1.5\""),
        (b"\xc4\x01\xab", "\"ab\""),
        (b"\xa2\xff\xfe", "\"\""),
    ] {
        assert_eq!(json(&[&[0x81], key, &[7]].concat()), Ok(format!("{{{text}:7}}")), "{key:02x?}");
    }
    for key in [0x80, 0x90] {
        assert_eq!(json(&[0x81, key, 7]), Err(CodecError::Corrupt));
    }
}

#[test]
fn declared_lengths_are_not_believed() {
    for head in [0xdd_u8, 0xdf, 0xdb, 0xc6, 0xc9] {
        assert_eq!(json(&[head, 0xff, 0xff, 0xff, 0xff, 0, 0]), Err(CodecError::Truncated), "{head:02x}");
    }
    // Each level repeats the promise; the whole stays a few bytes of memory.
    let nested = [0xdd, 0, 0, 0, 200].repeat(60);
    assert_eq!(json(&nested), Err(CodecError::Truncated));
}

#[test]
fn limits_hold() {
    let arrays = |depth: usize| [vec![0x91; depth - 1], vec![0x90]].concat();
    assert_eq!(json(&arrays(64)), Ok(format!("{}{}", "[".repeat(64), "]".repeat(64))));
    assert_eq!(json(&arrays(65)), Err(CodecError::TooDeep));
    assert_eq!(json(&arrays(1_000_000)), Err(CodecError::TooDeep));
    let maps = [b"\x81\xa1a".repeat(64), vec![0x80]].concat();
    assert_eq!(json(&maps), Err(CodecError::TooDeep));

    let wide = [&[0xdc, 0, 99][..], &[0xc0; 99]].concat();
    assert!(to_json(&wide, MsgpackLimits { max_elements: 100, ..LIMITS }).is_ok());
    let fewer = MsgpackLimits { max_elements: 99, ..LIMITS };
    assert_eq!(to_json(&wide, fewer), Err(CodecError::TooManyElements));

    // Output cap: plain text, escapes (six bytes for one), hex (two for one) and numbers, exact and one short.
    for (input, len) in [
        (&b"\xa5hello"[..], 7),
        (b"\xa3\x01\x02\x03", 20),
        (b"\xc4\x03abc", 8),
        (b"\xcd\xff\xff", 5),
        (b"\xca\x3f\xc0\x00\x00", 3),
        (b"\x81\x05\x90", 8),
    ] {
        let cap = |max_out| MsgpackLimits { max_out, ..LIMITS };
        assert_eq!(to_json(input, cap(len)).map(|out| out.len()), Ok(len), "{input:02x?}");
        for short in 0..len {
            assert_eq!(to_json(input, cap(short)), Err(CodecError::TooLarge), "{input:02x?} {short}");
        }
    }
}

#[test]
fn from_json_is_prefixed_and_shortest() {
    let value = serde_json::json!({ "t": "x", "p": [0, 127, 128, -1, -33, 1.5, null, true, "é", 18_446_744_073_709_551_615_u64] });
    let packed = from_json(&value);
    assert_eq!(
        packed,
        b"M:\x82\xa1p\x9a\x00\x7f\xcc\x80\xff\xd0\xdf\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xc0\xc3\xa2\xc3\xa9\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa1t\xa1x"
    );
    assert_eq!(json(&packed[2..]).unwrap(), value.to_string());
}

/// The longest texts there are for few bytes: every one-byte value as key and as value, the widest numbers, control characters.
#[test]
fn the_text_is_at_most_eight_times_the_input() {
    let limits = MsgpackLimits { max_out: 1 << 24, max_depth: 64, max_elements: 1 << 20 };
    let mut values: Vec<Vec<u8>> =
        (0x00..=0x7F).chain(0xE0..=0xFF).chain([0xC0, 0xC2, 0xC3]).map(|byte| vec![byte]).collect();
    values.push([&[0xCA][..], &(-f32::MIN_POSITIVE).to_be_bytes()].concat());
    values.push([&[0xCB][..], &(-f64::MIN_POSITIVE).to_be_bytes()].concat());
    values.push([&[0xD3][..], &i64::MIN.to_be_bytes()].concat());
    values.push(vec![0xBF; 1].into_iter().chain([1; 31]).collect());
    values.push(vec![0xC4, 2, 0xFF, 0xFF]);
    let float = |length: usize| f64::from(u32::try_from(length).unwrap());
    let mut worst = 0.0_f64;
    for value in &values {
        let mut input = vec![0xDE, 0x03, 0xE8];
        input.extend([&value[..], &value[..]].concat().repeat(1000));
        let text = to_json(&input, limits).unwrap();
        worst = worst.max(float(text.len()) / float(input.len()));
    }
    assert!(worst <= float(MSGPACK_AMPLIFICATION) && worst > 6.9, "{worst}");
}
