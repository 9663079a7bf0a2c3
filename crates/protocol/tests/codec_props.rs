//! Round trips of the codecs over random values, and arbitrary bytes as input.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::Value;
use wse_protocol::codec::{
    CodecError, Compressor, MSGPACK_AMPLIFICATION, MsgpackLimits, compress, decompress, from_json, to_json,
};
use wse_protocol::json::scan_object;

const LIMITS: MsgpackLimits = MsgpackLimits { max_out: 1 << 16, max_depth: 64, max_elements: 10_000 };

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-200..200_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z]{30,300}".prop_map(Value::from),
    ];
    scalar.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Bytes that are likely to be MessagePack for a while.
fn likely_msgpack() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => 0x80..=0xdf_u8, 1 => any::<u8>(), 1 => Just(0)];
    prop::collection::vec(byte, 0..200)
}

/// `PROPTEST_CASES` asks for more; a failing seed goes to a file beside this one and is replayed first.
fn config() -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")) as _);
    ProptestConfig { failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn msgpack_round_trip(value in value()) {
        let packed = from_json(&value);
        prop_assert_eq!(&packed[..2], b"M:");
        let text = to_json(&packed[2..], LIMITS).unwrap();
        prop_assert_eq!(String::from_utf8(text).unwrap(), value.to_string());
    }

    #[test]
    fn msgpack_gives_valid_json_within_its_limits(bytes in likely_msgpack(), max_out in 0..600_usize) {
        if let Ok(text) = to_json(&bytes, MsgpackLimits { max_out, ..LIMITS }) {
            prop_assert!(text.len() <= max_out && text.len() <= MSGPACK_AMPLIFICATION * bytes.len());
            let text = String::from_utf8(text).unwrap();
            prop_assert!(scan_object(format!("{{\"a\":{text}}}").as_bytes(), 128).is_ok(), "{}", text);
        }
    }

    #[test]
    fn damaged_msgpack_never_panics(value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut packed = from_json(&value).split_off(2);
        let at = at.index(packed.len());
        packed[at] = byte;
        let _ = to_json(&packed, LIMITS);
        prop_assert!(to_json(&packed[..at], LIMITS).is_err());
    }

    #[test]
    fn zlib_round_trip(data in prop::collection::vec(0..6_u8, 0..20_000), other in any::<Vec<u8>>()) {
        let mut compressor = Compressor::new();
        compressor.compress(&other);
        for packed in [compress(&data), compressor.compress(&data)] {
            prop_assert_eq!(&packed[..2], b"C:");
            let restored = decompress(&packed[2..], data.len());
            prop_assert_eq!(restored.as_deref(), Ok(&data[..]));
        }
    }

    #[test]
    fn damaged_zlib_never_passes_the_cap(
        data in prop::collection::vec(0..6_u8, 1..5_000), at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut packed = compress(&data).split_off(2);
        prop_assert_eq!(decompress(&packed, data.len() - 1), Err(CodecError::TooLarge));
        let at = at.index(packed.len());
        packed[at] = byte;
        if let Ok(out) = decompress(&packed, data.len()) {
            prop_assert!(out.len() <= data.len());
        }
    }
}
