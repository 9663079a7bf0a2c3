//! The flat form, cut anywhere, against the events that went in.

use serde_json::{Value, json};
use wse_protocol::json::{MAX_LEAVES, Shape};

use super::super::columns::{LONG_VALUE, MAX_TABLES, MIN_ROWS};
use super::*;
use crate::id::ConnId;
use std::sync::Arc;

fn flat(queue: &mut VecDeque<Batch>, max: usize, columns: bool) -> Option<(Vec<u8>, Flat)> {
    let mut out = Vec::new();
    loop {
        match flatten(queue, max, columns, &mut out, drop) {
            Flattened::Nothing => return None,
            Flattened::Needs(size) => {
                assert!(size > out.len());
                out.resize(size, 0xAA);
            }
            Flattened::Taken(flat) => {
                out.truncate(flat.written);
                return Some((out, flat));
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "connection ids stay below 2^53")]
fn number(id: ConnId) -> f64 {
    id.as_u64() as f64
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes[..24].chunks(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect()
}

fn learn(text: &str) -> Arc<Shape> {
    Arc::new(Shape::learn(text.as_bytes(), 64).expect("a shape"))
}

fn push_shaped(batch: &mut Batch, id: ConnId, text: &str, shape: &Arc<Shape>) {
    let mut cells = [0; MAX_LEAVES];
    assert!(shape.matches(text.as_bytes(), 64, &mut cells), "{text}");
    batch.push_shaped(id, text.as_bytes(), shape, &cells[..shape.leaves()]);
}

#[derive(Debug, PartialEq)]
struct Heard(f64, u8, Value);

/// Reads a crossing as JavaScript does, if its keys are in alphabetical order: `Value` sorts them. Messages of both forms have kind 2; how many were in columns comes with them.
fn decode(bytes: &[u8]) -> (Vec<Heard>, usize) {
    let header = words(bytes);
    let [count, flags, text_len, data_len, columns_len, longs_len] = header[..] else { panic!("{header:?}") };
    let count = count as usize;
    let kinds = &bytes[24 + count * 12..24 + count * 13];
    let head = (24 + count * 13).next_multiple_of(8);
    assert!(bytes[24 + count * 13..head].iter().all(|byte| *byte == 0));
    let (text, rest) = bytes[head..].split_at(text_len as usize);
    let (columns, rest) = rest.split_at(columns_len as usize);
    let (mut data, longs) = rest.split_at(data_len as usize);
    let mut used = 0;
    assert_eq!(longs.len(), longs_len as usize);
    let ascii = [text, data, columns].map(<[u8]>::is_ascii);
    assert_eq!([1, 2, 4].map(|flag| flags & flag != 0), ascii);
    let mut plain = serde_json::from_slice::<Vec<Value>>(text).unwrap().into_iter();
    let mut parts = if columns.is_empty() { Vec::new() } else { serde_json::from_slice(columns).unwrap() }.into_iter();
    let mut tables = Vec::new();
    for shape in 0u8.. {
        let Some(template) = parts.next() else { break };
        let rows = kinds.iter().filter(|kind| **kind == 16 + shape).count();
        let mut columns = parts.by_ref().map(|column| beside(column, longs, &mut used));
        tables.push(rebuild(&template, rows, &mut columns).into_iter());
    }
    let shaped = kinds.iter().filter(|kind| **kind >= 16).count();
    let events = (0..count).map(|index| {
        let id = f64::from_le_bytes(bytes[24 + index * 8..32 + index * 8].try_into().unwrap());
        let at = 24 + count * 8 + index * 4;
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        match kinds[index] {
            2 => Heard(id, 2, plain.next().unwrap()),
            10 => {
                let message = plain.next().unwrap();
                assert_eq!(message.to_string().len(), length, "as this parser writes it");
                Heard(id, 2, restored(&message, longs, &mut used))
            }
            kind @ 16.. => Heard(id, 2, tables[usize::from(kind) - 16].next().unwrap()),
            kind => {
                let (payload, rest) = data.split_at(length);
                data = rest;
                Heard(id, kind, String::from_utf8_lossy(payload).into())
            }
        }
    });
    let events: Vec<Heard> = events.collect();
    assert!(
        data.is_empty()
            && used == longs.len()
            && plain.next().is_none()
            && tables.iter_mut().all(|rows| rows.next().is_none())
    );
    (events, shaped)
}

/// A message with its long string, wherever its stand-in is.
fn restored(value: &Value, longs: &[u8], used: &mut usize) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| restored(item, longs, used)).collect(),
        Value::Object(members) => {
            let restored = members.iter().map(|(key, member)| (key.clone(), restored(member, longs, used)));
            Value::Object(restored.collect())
        }
        Value::String(text) => match text.strip_prefix("~wse~").and_then(|rest| rest.split_once('+')) {
            Some((place, length)) => {
                let (place, length): (usize, usize) = (place.parse().unwrap(), length.parse().unwrap());
                *used += length;
                String::from_utf8(longs[place..place + length].to_vec()).unwrap().into()
            }
            None => value.clone(),
        },
        other => other.clone(),
    }
}

/// A column, wherever its strings stand.
fn beside(column: Value, longs: &[u8], used: &mut usize) -> Value {
    let Value::Object(place) = &column else { return column };
    let mut at = usize::try_from(place["at"].as_u64().unwrap()).unwrap();
    let strings = place["lengths"].as_array().unwrap().iter().map(|length| {
        let length = usize::try_from(length.as_u64().unwrap()).unwrap();
        let string = std::str::from_utf8(&longs[at..at + length]).unwrap();
        (at, *used) = (at + length, *used + length);
        Value::from(string)
    });
    strings.collect()
}

fn rebuild(template: &Value, rows: usize, columns: &mut impl Iterator<Item = Value>) -> Vec<Value> {
    let mut built = vec![json!({}); rows];
    for (key, value) in template.as_object().unwrap() {
        let values = if value.is_object() {
            rebuild(value, rows, columns)
        } else {
            match columns.next().unwrap() {
                Value::Array(column) if column.len() == 1 => {
                    assert!(!column[0].is_object() && !column[0].is_array(), "shared");
                    vec![column[0].clone(); rows]
                }
                Value::Array(column) => column,
                other => panic!("{other} is no column"),
            }
        };
        assert_eq!(values.len(), rows);
        for (object, value) in built.iter_mut().zip(values) {
            object[key] = value;
        }
    }
    built
}

/// What a message of a known shape costs in a batch and as columns. `bench/instructions.mjs` counts it.
#[test]
#[ignore = "counted by bench/instructions.mjs"]
fn crossing() {
    let repetitions: usize = std::env::var("REPEAT").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let text = |n: usize| {
        let pad = "x".repeat(38);
        format!(r#"{{"c":"U","t":"bench","p":{{"seq":"{n:012}","ns":"{n:019}","pad":"{pad}"}},"v":1}}"#)
    };
    let texts: Vec<String> = (0..1024).map(text).collect();
    let shape = learn(&texts[0]);
    let mut cells = [0; MAX_LEAVES];
    assert!(shape.matches(texts[0].as_bytes(), 64, &mut cells));
    let (mut out, mut queue, mut spare) = (vec![0; 1 << 18], VecDeque::new(), Some(Batch::default()));
    for _ in 0..repetitions {
        let mut batch = spare.take().unwrap_or_default();
        for text in &texts {
            batch.push_shaped(ConnId::new(0, 1, 1), text.as_bytes(), &shape, &cells[..shape.leaves()]);
        }
        queue.push_back(batch);
        let taken = flatten(&mut queue, 1024, true, &mut out, |batch| spare = Some(batch.recycle()));
        assert!(matches!(taken, Flattened::Taken(Flat { events: 1024, .. })));
    }
}

#[test]
fn layout_is_the_documented_one() {
    let mut batch = Batch::default();
    let (a, b) = (ConnId::new(0, 1, 1), ConnId::new(1, 2, 3));
    batch.push(Kind::Message, a, br#"{"t":"x"}"#);
    batch.push(Kind::Raw, b, "é".as_bytes());
    batch.push(Kind::Message, b, b"{}");
    batch.push(Kind::Disconnect, a, b"");
    let mut queue = [batch].into();
    let (bytes, flat) = flat(&mut queue, 100, true).unwrap();
    assert_eq!((flat.events, flat.bytes, queue.len()), (4, 13, 0));
    assert_eq!(words(&bytes), [4, TEXT_ASCII | COLUMNS_ASCII, 14, 2, 0, 0]);
    let head = (24 + 4 * 13usize).next_multiple_of(8);
    assert_eq!(&bytes[head..head + 14], br#"[{"t":"x"},{}]"#);
    assert_eq!(&bytes[head + 14..], "é".as_bytes());
    assert_eq!(&bytes[24 + 4 * 12..][..4], [2, 3, 2, 5]);
    assert_eq!(f64::from_le_bytes(bytes[32..40].try_into().unwrap()), number(b));
}

#[test]
fn columns_are_the_documented_ones() {
    let id = ConnId::new(0, 1, 1);
    let shape = learn(r#"{"c": "U","p":{"n":1,"x":[]},"l":[]}"#);
    let texts: Vec<_> = (0..8).map(|n| format!(r#"{{"c": "é","p":{{"n":{n},"x":null}},"l":[1]}}"#)).collect();
    let mut batch = Batch::default();
    batch.push(Kind::Message, id, b"{}");
    batch.push(Kind::Raw, id, b"raw");
    texts.iter().for_each(|text| push_shaped(&mut batch, id, text, &shape));
    let (bytes, flat) = flat(&mut [batch].into(), 100, true).unwrap();
    assert_eq!(flat.bytes, 2 + 3 + texts.iter().map(String::len).sum::<usize>());
    let region = concat!(
        r#"[{"c":0,"p":{"n":0,"x":0},"l":0},["é"],"#,
        "[0,1,2,3,4,5,6,7],[null],[[1],[1],[1],[1],[1],[1],[1],[1]]]"
    );
    let length = u32::try_from(region.len()).unwrap();
    assert_eq!(words(&bytes), [10, TEXT_ASCII | DATA_ASCII, 4, 3, length, 0]);
    let kinds = 24 + 10 * 12;
    assert_eq!(&bytes[kinds..kinds + 10], [2, 3, 16, 16, 16, 16, 16, 16, 16, 16]);
    let head = (24 + 10 * 13usize).next_multiple_of(8);
    assert_eq!(std::str::from_utf8(&bytes[head..]).unwrap(), format!("[{{}}]{region}raw"));
}

/// Several shapes in several batches, with other events between them, as three shards might deliver them.
fn mixture() -> (VecDeque<Batch>, Vec<Heard>) {
    let mut queue = VecDeque::new();
    let mut expected = Vec::new();
    for shard in 0..3 {
        // Each shard has learned the shapes for itself.
        let first = learn(r#"{"p":{"seq":0,"text":""},"t":"a"}"#);
        let second = learn(r#"{"n":0,"t":"b"}"#);
        let rare = learn(r#"{"only":1,"rare":0}"#);
        let mut batch = Batch::default();
        for slot in 0..40 {
            let id = ConnId::new(shard, slot, 1);
            let heard = |kind: Kind, value: Value| Heard(number(id), kind as u8, value);
            let text = match slot % 5 {
                0 | 1 => format!(r#"{{"p":{{"seq":{slot},"text":"{}"}},"t":"a"}}"#, "ž".repeat(slot as usize)),
                2 => format!(r#"{{"n":[{slot}],"t":"b"}}"#),
                3 if slot % 20 == 13 => {
                    format!(r#"{{"p":{{"doc":"{}"}},"t":"long"}}"#, "y".repeat(5000 + slot as usize))
                }
                3 => format!(r#"{{"plain":{slot}}}"#),
                _ => slot.to_string(),
            };
            match slot % 5 {
                0 | 1 => push_shaped(&mut batch, id, &text, &first),
                2 => push_shaped(&mut batch, id, &text, &second),
                3 if slot % 2 == 0 => {
                    let text = format!(r#"{{"only":1,"rare":{slot}}}"#);
                    push_shaped(&mut batch, id, &text, &rare);
                    expected.push(heard(Kind::Message, serde_json::from_str(&text).unwrap()));
                    continue;
                }
                3 => batch.push(Kind::Message, id, text.as_bytes()),
                _ => batch.push(Kind::Raw, id, text.as_bytes()),
            }
            expected.push(if slot % 5 == 4 {
                heard(Kind::Raw, text.into())
            } else {
                heard(Kind::Message, serde_json::from_str(&text).unwrap())
            });
        }
        batch.push(Kind::Disconnect, ConnId::new(shard, 0, 1), b"");
        expected.push(Heard(number(ConnId::new(shard, 0, 1)), 5, "".into()));
        queue.push_back(batch);
    }
    (queue, expected)
}

#[test]
fn any_cut_gives_the_same_events() {
    let (queue, expected) = mixture();
    let bytes: usize = queue.iter().map(Batch::bytes).sum();
    for max in 1..=expected.len() + 1 {
        // Columns always, never, and by turns: readers of both kinds may share a server.
        for turns in [1, 2, usize::MAX] {
            let (mut queue, _) = mixture();
            let (mut events, mut taken, mut turn) = (Vec::new(), 0, 0);
            while let Some((bytes, flat)) = flat(&mut queue, max, turn % turns == turns - 1 || turns == 1) {
                assert!(flat.events <= max);
                let (heard, shaped) = decode(&bytes);
                assert_eq!(heard.len(), flat.events);
                if turns == 1 && max > expected.len() {
                    assert_eq!(shaped, 3 * 16 + 3 * 8 + 3 * 4, "the same shapes share a table");
                } else if turns == usize::MAX {
                    assert_eq!(shaped, 0);
                }
                events.extend(heard);
                taken += flat.bytes;
                turn += 1;
            }
            assert_eq!(events, expected, "max {max}");
            assert_eq!(taken, bytes);
        }
    }
}

#[test]
fn few_messages_of_a_shape_are_plain() {
    let id = ConnId::new(0, 1, 1);
    for count in [MIN_ROWS - 1, MIN_ROWS] {
        let shape = learn(r#"{"constant":true,"n":1}"#);
        let mut batch = Batch::default();
        for n in 0..count {
            push_shaped(&mut batch, id, &format!(r#"{{"constant":false,"n":{n}}}"#), &shape);
        }
        let (heard, shaped) = decode(&flat(&mut [batch].into(), 100, true).unwrap().0);
        assert_eq!(shaped, if count < MIN_ROWS { 0 } else { count });
        assert!(heard.iter().enumerate().all(|(n, heard)| heard.2 == json!({"n": n, "constant": false})));
    }
}

#[test]
fn columns_of_long_strings_stand_beside_the_text() {
    let id = ConnId::new(0, 1, 1);
    let shape = learn(r#"{"n":0,"text":""}"#);
    // One that is none, or not what is written, takes its whole column along.
    for (odd, is_beside) in [("", true), ("é", false), (r"\n", false), ("~wse~0+9", true)] {
        let text = |n: usize| {
            let odd = if n == 5 { odd } else { "" };
            format!(r#"{{"n":{n},"text":"{odd}{}"}}"#, "x".repeat(LONG_VALUE + n))
        };
        let mut batch = Batch::default();
        batch.push(Kind::Raw, id, b"raw");
        (0..9).for_each(|n| push_shaped(&mut batch, id, &text(n), &shape));
        batch.push(Kind::Message, id, format!(r#"{{"doc":"{}"}}"#, "y".repeat(5000)).as_bytes());
        let (bytes, _) = flat(&mut [batch].into(), 100, true).unwrap();
        let longs = words(&bytes)[5] as usize;
        let strings = 9 * LONG_VALUE + (0..9).sum::<usize>() + odd.len();
        assert_eq!(longs, 5000 + if is_beside { strings } else { 0 }, "{odd}");
        let (heard, shaped) = decode(&bytes);
        assert_eq!(shaped, 9);
        for (n, Heard(_, _, value)) in heard[1..10].iter().enumerate() {
            assert_eq!(*value, serde_json::from_str::<Value>(&text(n)).unwrap());
        }
        assert_eq!(heard[10].2["doc"].as_str().map(str::len), Some(5000));
    }
}

#[test]
fn values_of_any_length_at_the_end_of_everything() {
    // The wide copy of short values must neither reach beyond the text nor beyond the buffer.
    let id = ConnId::new(0, 1, 1);
    for length in 0..70 {
        let shape = learn(r#"{"first":0,"last":0}"#);
        let mut batch = Batch::default();
        let text = |n: usize| format!(r#"{{"first":{n},"last":"{}{n}"}}"#, "x".repeat(length));
        (0..9).for_each(|n| push_shaped(&mut batch, id, &text(n), &shape));
        let mut queue = [batch].into();
        let Flattened::Needs(size) = flatten(&mut queue, 100, true, &mut [], drop) else { panic!("it has events") };
        let mut out = vec![0xAA; size];
        let Flattened::Taken(flat) = flatten(&mut queue, 100, true, &mut out, drop) else { panic!("it fits") };
        let (heard, shaped) = decode(&out[..flat.written]);
        assert_eq!(shaped, 9);
        for (n, Heard(_, _, value)) in heard.iter().enumerate() {
            assert_eq!(*value, serde_json::from_str::<Value>(&text(n)).unwrap());
        }
    }
}

#[test]
fn shapes_beyond_the_limits_are_plain() {
    let id = ConnId::new(0, 1, 1);
    let mut queue = VecDeque::new();
    let mut expected = Vec::new();
    for group in 0..6 {
        let mut batch = Batch::default();
        for n in 0..MIN_ROWS {
            for shape in 0..=MAX_SHAPES {
                let text = format!(r#"{{"key {group} {shape}":{n}}}"#);
                // Each time as if learned anew: what counts is the shape, in a batch the pointer.
                push_shaped(&mut batch, id, &text, &learn(&text));
                expected.push(serde_json::from_str::<Value>(&text).unwrap());
            }
        }
        assert!(batch.shapes.len() <= MAX_SHAPES);
        queue.push_back(batch);
    }
    let mut known = VecDeque::new();
    for group in 0..6 {
        let shapes: Vec<_> = (0..=MAX_SHAPES).map(|n| learn(&format!(r#"{{"key {group} {n}":0}}"#))).collect();
        let mut batch = Batch::default();
        for n in 0..MIN_ROWS {
            for (index, shape) in shapes.iter().enumerate() {
                push_shaped(&mut batch, id, &format!(r#"{{"key {group} {index}":{n}}}"#), shape);
            }
        }
        known.push_back(batch);
    }
    for (mut queue, tables) in [(queue, 0), (known, MAX_TABLES)] {
        let (heard, shaped) = decode(&flat(&mut queue, 1000, true).unwrap().0);
        assert_eq!(shaped, tables * MIN_ROWS);
        assert!(heard.iter().map(|heard| &heard.2).eq(&expected));
    }
}

#[test]
fn a_recycled_batch_remembers_nothing() {
    let id = ConnId::new(0, 1, 1);
    let shape = learn(r#"{"n":1,"m":1}"#);
    let mut batch = Batch::default();
    (0..10).for_each(|_| push_shaped(&mut batch, id, r#"{"n":1,"m":1}"#, &shape));
    batch.taken = batch.measure(10);
    assert!(batch.is_empty());
    let batch = batch.recycle();
    assert!(batch.cells.is_empty() && batch.shapes.is_empty() && batch.taken == Part::default());
    assert_eq!(Arc::strong_count(&shape), 1);
}
