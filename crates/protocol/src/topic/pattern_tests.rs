//! Tests of `pattern.rs`: examples, a naive oracle, and hostile sizes.

use super::{MAX_PATTERN_BYTES, Pattern, PatternError, is_pattern};
use proptest::prelude::*;

fn matches(pattern: &str, topic: &str) -> bool {
    Pattern::new(pattern).unwrap().matches(topic)
}

/// The definition, as a table over all prefixes of both: obviously right, O(n * m).
fn oracle(pattern: &[u8], topic: &[u8]) -> bool {
    let mut row = vec![false; topic.len() + 1];
    row[0] = true;
    for &byte in pattern {
        let mut next = vec![false; topic.len() + 1];
        for end in 0..=topic.len() {
            next[end] = match byte {
                b'*' => row[end] || (end > 0 && next[end - 1]),
                b'?' => end > 0 && row[end - 1],
                _ => end > 0 && row[end - 1] && topic[end - 1] == byte,
            };
        }
        row = next;
    }
    row[topic.len()]
}

#[test]
fn literals_match_themselves_only() {
    assert!(matches("user:1", "user:1"));
    assert!(!matches("user:1", "user:12"));
    assert!(!matches("user:1", "user:"));
    assert!(!matches("user:1", "USER:1"));
    assert!(matches("", ""));
    assert!(!matches("", "a"));
    assert!(matches("a.b", "a.b"));
    assert!(!matches("a.b", "axb"));
    assert!(matches("[a]\\+", "[a]\\+"));
}

#[test]
fn a_star_is_any_run_separators_and_none_included() {
    assert!(matches("*", "") && matches("*", "a:b/c.d") && matches("**", "x") && matches("***", ""));
    assert!(matches("user:*", "user:") && matches("user:*", "user:1:orders") && !matches("user:*", "user"));
    assert!(matches("*:orders", "user:1:orders") && !matches("*:orders", "user:1:orders:x"));
    assert!(matches("a*c", "ac") && matches("a*c", "abcbc") && !matches("a*c", "acb"));
    assert!(matches("*ab*ba*", "xabba") && !matches("*ab*ba*", "aba"));
    assert!(!matches("ab*ba", "aba"));
    assert!(matches("a*", "a*") && matches("a*", "a?"));
}

#[test]
fn a_question_mark_is_exactly_one_byte() {
    assert!(matches("user:?", "user:1") && !matches("user:?", "user:") && !matches("user:?", "user:12"));
    assert!(matches("??", "é") && !matches("?", "é"));
    assert!(matches("*?", "a") && !matches("*?", "") && matches("?*?", "ab") && !matches("?*?", "a"));
    assert!(matches("*?b*", "abb") && !matches("*?b*", "baa") && matches("*b?d*", "abbdbcd"));
    assert!(matches("???", "?*x"));
    // A zero byte in the topic must not equal the zero that stands for `?` at another place.
    assert!(!matches("a?c", "a\0\0") && matches("a?c", "a\0c"));
}

#[test]
fn a_pattern_is_known_by_its_bytes() {
    assert!(is_pattern("*") && is_pattern("a?b") && is_pattern("\\*"));
    assert!(!is_pattern("") && !is_pattern("user:1[a-z]"));
}

#[test]
fn the_length_is_capped() {
    assert!(Pattern::new(&"*".repeat(MAX_PATTERN_BYTES)).is_ok());
    assert_eq!(Pattern::new(&"a".repeat(MAX_PATTERN_BYTES + 1)).unwrap_err(), PatternError);
    assert_eq!(Pattern::new("a*b").unwrap().as_str(), "a*b");
}

/// Patterns that take exponential or quadratic time elsewhere. A backtracking matcher never comes back from
/// them; this one gets a second per match, many times what it needs even without optimisation. All end in a star:
/// a wrong last byte would be refused at once.
#[test]
fn hostile_patterns_stay_cheap() {
    let topic = "a".repeat(super::super::MAX_NAME_BYTES);
    let patterns = [
        "a*".repeat(511) + "b*",
        "*a".repeat(510) + "*b*",
        "*a?".repeat(340) + "*b*",
        format!("*{}?{}b*", "a".repeat(510), "a".repeat(500)),
        format!("*{}{}b*", "?".repeat(500), "a".repeat(500)),
        format!("*{}b*", "a".repeat(1000)),
        "?*".repeat(511) + "b*",
        "*?".repeat(510) + "*b*",
    ];
    for pattern in patterns {
        // The best of three: others need the processor too.
        let took = (0..3).map(|_| {
            let start = std::time::Instant::now();
            assert!(!matches(&pattern, &topic));
            start.elapsed()
        });
        let took = took.min().unwrap();
        assert!(took.as_secs() < 1, "{}: {took:?}", &pattern[..12]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// A small alphabet, so that near misses and repeated segments are common.
    #[test]
    fn agrees_with_the_oracle(pattern in "[ab*?]{0,12}", topic in "[ab]{0,16}") {
        prop_assert_eq!(matches(&pattern, &topic), oracle(pattern.as_bytes(), topic.as_bytes()));
    }

    #[test]
    fn agrees_with_the_oracle_on_long_segments(pattern in "\\*?[ab?]{25,80}\\*?[ab]{0,3}", topic in "[ab]{20,200}") {
        prop_assert_eq!(matches(&pattern, &topic), oracle(pattern.as_bytes(), topic.as_bytes()));
    }

    #[test]
    fn agrees_with_the_oracle_on_any_text(pattern in ".{0,8}[*?]{0,2}.{0,8}", topic in ".{0,16}") {
        prop_assert_eq!(matches(&pattern, &topic), oracle(pattern.as_bytes(), topic.as_bytes()));
    }

    /// Topics made from the pattern itself, so that matches are as common as misses.
    #[test]
    fn finds_what_was_planted(
        parts in prop::collection::vec(("[ab?:]{0,40}", "[ab:]{0,40}"), 1..6),
        fill in "[ab]",
    ) {
        let pattern = parts.iter().map(|(part, _)| part.as_str()).collect::<Vec<_>>().join("*");
        let topic: String = parts
            .iter()
            .enumerate()
            .map(|(i, (part, gap))| part.replace('?', &fill) + if i + 1 < parts.len() { gap } else { "" })
            .collect();
        prop_assert!(matches(&pattern, &topic));
        prop_assert!(oracle(pattern.as_bytes(), topic.as_bytes()));
    }
}
