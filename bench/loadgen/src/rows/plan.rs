//! Who subscribes to what, and which sequence numbers each connection must therefore see.

use crate::args::{Args, Outcome};

/// The subscriptions of a fan-out row.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Topics the publisher goes through in turn: `name` alone when there is one, `name.0` … otherwise.
    pub(crate) topics: usize,
    pub(crate) name: String,
    /// Subscribe messages, used in turn by the connections.
    pub(crate) messages: Vec<String>,
    /// Sorted topic numbers per connection; `None` when every connection hears every topic.
    pub(crate) listed: Option<Vec<Vec<u32>>>,
    /// Deliveries that one published message makes.
    pub(crate) per_message: u64,
}

/// The message by which a connection asks for topics.
pub(crate) fn subscribe(topics: &[String]) -> String {
    let quoted: Vec<String> = topics.iter().map(|topic| format!("\"{topic}\"")).collect();
    format!(r#"{{"t":"sub","p":{{"topics":[{}]}}}}"#, quoted.join(","))
}

impl Plan {
    pub(crate) fn new(args: &Args) -> Outcome<Self> {
        let connections = args.connections;
        let topics: usize =
            args.get("topics", if !matches!(args.row.as_str(), "topics" | "patterns") { 1 } else { 10 })?;
        let name = args.get("topic", "bench".to_owned())?;
        if connections == 0 || topics == 0 {
            return Err("at least one connection and one topic".into());
        }
        let everyone =
            |messages| Self { topics, name: name.clone(), messages, listed: None, per_message: connections as u64 };
        if topics == 1 {
            return Ok(everyone(vec![subscribe(std::slice::from_ref(&name))]));
        }
        let names: Vec<String> = (0..topics).map(|topic| format!("{name}.{topic}")).collect();
        if args.row == "patterns" {
            let exact: bool = args.get("exact", false)?;
            let wanted = if exact { names } else { vec![format!("{name}.*")] };
            return Ok(everyone(vec![subscribe(&wanted)]));
        }
        let per_topic: usize = args.get("per-topic", 10)?;
        let listed = spread(topics, per_topic, connections)?;
        let messages = listed
            .iter()
            .map(|own| subscribe(&own.iter().map(|topic| names[*topic as usize].clone()).collect::<Vec<_>>()));
        Ok(Self {
            topics,
            name: name.clone(),
            messages: messages.collect(),
            listed: Some(listed),
            per_message: per_topic as u64,
        })
    }
}

/// Gives every topic `per_topic` subscribers and every connection the same number of different topics, at random but the
/// same on every run: neighbours in publishing order are not neighbours on a connection.
fn spread(topics: usize, per_topic: usize, connections: usize) -> Outcome<Vec<Vec<u32>>> {
    let places = topics * per_topic;
    let each = places / connections;
    if each * connections != places || per_topic > connections {
        return Err(format!(
            "{topics} topics × {per_topic} subscribers cannot be shared evenly by {connections} connections"
        ));
    }
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        crate::sys::index(state % below as u64)
    };
    for _ in 0..100 {
        if let Some(hands) = deal(topics, places, each, &mut random) {
            return Ok(hands);
        }
    }
    Err("no fair sharing of the topics found".into())
}

/// One attempt: shuffle, deal, and swap away what a hand holds twice; `None` when that gets stuck.
fn deal(topics: usize, places: usize, each: usize, random: &mut impl FnMut(usize) -> usize) -> Option<Vec<Vec<u32>>> {
    let numbers = 0..u32::try_from(topics).ok()?;
    let mut deck: Vec<u32> = numbers.cycle().take(places).collect();
    for at in (1..places).rev() {
        deck.swap(at, random(at + 1));
    }
    for place in 0..places {
        let own = place / each * each..place / each * each + each;
        let mut tries = 0;
        while deck[own.start..place].contains(&deck[place]) {
            let other = random(places);
            let theirs = other / each * each..other / each * each + each;
            if !deck[theirs].contains(&deck[place]) && !deck[own.clone()].contains(&deck[other]) {
                deck.swap(place, other);
            }
            tries += 1;
            if tries > 10_000 {
                return None;
            }
        }
    }
    let mut hands: Vec<Vec<u32>> = deck.chunks(each).map(<[u32]>::to_vec).collect();
    hands.iter_mut().for_each(|hand| hand.sort_unstable());
    Some(hands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_its_subscribers_and_no_one_twice() {
        for (topics, per_topic, connections) in [(10_000, 10, 1_000), (100, 10, 100), (6, 2, 4)] {
            let hands = spread(topics, per_topic, connections).unwrap();
            let mut subscribers = vec![0; topics];
            for hand in &hands {
                assert_eq!(hand.len(), topics * per_topic / connections);
                assert!(hand.windows(2).all(|pair| pair[0] < pair[1]), "a topic twice: {hand:?}");
                hand.iter().for_each(|topic| subscribers[*topic as usize] += 1);
            }
            assert!(subscribers.iter().all(|count| *count == per_topic));
        }
        assert!(spread(10, 3, 7).is_err());
    }
}
