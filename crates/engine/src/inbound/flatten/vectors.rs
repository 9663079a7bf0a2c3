//! The flat form byte for byte, against the batches in `spec/vectors/batch.json` that the decoder's tests read too.

use std::fmt::Write;

use serde_json::Value;
use wse_protocol::json::MAX_LEAVES;

use super::super::flatten::*;
use crate::id::ConnId;
use std::collections::VecDeque;
use std::sync::Arc;
use wse_protocol::json::Shape;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// Pushes `[type, id, payload, shape?]` as the shard would; the first message of a shape is what the shape is learned from.
fn push(batch: &mut Batch, event: &Value, shapes: &mut Vec<Arc<Shape>>) {
    let id = ConnId::from_u64(event[1].as_u64().unwrap());
    let text = event[2].as_str().unwrap_or_default().as_bytes();
    let kind = match event[0].as_str().unwrap() {
        "connect" => Kind::Connect,
        "auth_connect" => Kind::AuthConnect,
        "msg" => Kind::Message,
        "raw" => Kind::Raw,
        "bin" => return batch.push(Kind::Binary, id, &hex(event[2].as_str().unwrap())),
        "disconnect" => return batch.push(Kind::Disconnect, id, event[2].to_string().as_bytes()),
        "slow_consumer" => return batch.push(Kind::SlowConsumer, id, event[2].to_string().as_bytes()),
        "subscribe" => return batch.push(Kind::Subscribe, id, event[2].to_string().as_bytes()),
        "unsubscribe" => return batch.push(Kind::Unsubscribe, id, event[2].to_string().as_bytes()),
        "presence_join" => return batch.push(Kind::PresenceJoin, id, event[2].to_string().as_bytes()),
        "presence_leave" => return batch.push(Kind::PresenceLeave, id, event[2].to_string().as_bytes()),
        "adopt" => return batch.push(Kind::Adopt, id, event[2].to_string().as_bytes()),
        "auth_expiring" => return batch.push(Kind::AuthExpiring, id, event[2].to_string().as_bytes()),
        other => panic!("no event of this engine: {other}"),
    };
    let Some(index) = event[3].as_u64() else { return batch.push(kind, id, text) };
    let index = usize::try_from(index).expect("a place in a list");
    if index == shapes.len() {
        shapes.push(Arc::new(Shape::learn(text, 64).expect("a shape")));
    }
    let shape = &shapes[index];
    let mut cells = [0; MAX_LEAVES];
    assert!(shape.matches(text, 64, &mut cells), "{event}");
    batch.push_shaped(id, text, shape, &cells[..shape.leaves()]);
}

/// The flat form of everything.
fn flat(events: &[Value], columns: bool) -> String {
    let (mut batch, mut shapes) = (Batch::default(), Vec::new());
    events.iter().for_each(|event| push(&mut batch, event, &mut shapes));
    let mut queue = VecDeque::from([batch]);
    let mut out = vec![0xAA; 4096];
    let Flattened::Taken(flat) = flatten(&mut queue, usize::MAX, columns, &mut out, drop) else { panic!("too small") };
    assert_eq!(flat.events, events.len());
    out[..flat.written].iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn events_cross_as_their_vectors() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../../../../../spec/vectors/batch.json")).unwrap();
    assert!(vectors.len() >= 8);
    let wrong: Vec<_> = vectors
        .iter()
        .map(|vector| (vector, flat(vector["events"].as_array().unwrap(), vector["columns"].as_bool().unwrap())))
        .filter(|(vector, made)| vector["hex"] != **made)
        .map(|(vector, made)| (vector["name"].as_str().unwrap(), made))
        .collect();
    assert!(wrong.is_empty(), "not the bytes of the vector: {wrong:#?}");
}
