//! What the engine answers about subscriptions, byte for byte, against `spec/vectors/answers.json`, which the facade's tests read too.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wse_engine::config::{Config, Questions, SnapshotProvider, Snapshots, Subscriptions};
use wse_protocol::topic::Pattern;
use wse_testkit::{Host, Server, config};

/// A host that says of each question what its vector says.
fn host_of(server: &Server, vector: &Value) -> Host {
    let (authorize, states) = (vector["authorize"].clone(), vector["states"].clone());
    Host::of(&server.engine, move |question| {
        let topics: Vec<&str> =
            question["topics"].as_array().unwrap().iter().map(|topic| topic.as_str().unwrap()).collect();
        let places = topics.iter().enumerate();
        if question["kind"] == "authorize" {
            let refused = places.filter(|(_, topic)| authorize[**topic] != true);
            let refused: Vec<Value> =
                refused.map(|(place, topic)| json!([place, authorize[*topic].as_str()])).collect();
            return json!({ "id": question["id"], "refused": refused });
        }
        if states.is_null() {
            return json!({ "id": question["id"], "failed": true });
        }
        let known = places.filter(|(_, topic)| states.get(**topic).is_some());
        let known: Vec<Value> = known.map(|(place, topic)| json!([place, states[*topic]])).collect();
        json!({ "id": question["id"], "states": { "known": known, "unsaid": [], "pins": [] } })
    })
}

#[test]
fn answers_are_their_vectors() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../../../spec/vectors/answers.json")).unwrap();
    let questions = Questions { timeout: Duration::from_secs(600), max_waiting: 8 };
    for vector in &vectors {
        let topics = Arc::new([Pattern::new("*").unwrap()]);
        let states = vector.get("states").map(|_| Snapshots::Host(SnapshotProvider { topics, questions }));
        let authorize = vector.get("authorize").map(|_| questions);
        let mut server =
            Server::start(Config { authorize, snapshots: states, subscriptions: Subscriptions::Acl, ..config() });
        let _host = host_of(&server, vector);
        let (mut peer, id) = server.connect();
        let patterns = |name: &str| serde_json::from_value(vector["acl"][name].clone()).unwrap_or_default();
        let (allow, deny): (Vec<String>, Vec<String>) = (patterns("allow"), patterns("deny"));
        server.engine.set_topic_acl(id, &allow, &deny).unwrap();
        peer.send_text(vector["sent"].as_str().unwrap());
        for reply in vector["replies"].as_array().unwrap() {
            assert_eq!(peer.text(), reply.as_str().unwrap(), "{}", vector["name"]);
        }
    }
    assert!(vectors.len() > 10);
}
