//! The rules of docs/protocol.md §2.3 and §2.4 for what a correctly signed token may say.

mod common;

use common::{NOW, claims, hs, outcome, token, verifier};
use serde_json::{Value, json};
use wse_crypto::jwt::{JwtConfig, JwtError, MAX_EXP, MAX_GRANT_PATTERN_BYTES, MAX_GRANT_PATTERNS, TopicGrant};

fn refused(claims: &str) -> bool {
    matches!(outcome(claims), Err(JwtError::Invalid(_)))
}

fn said(config: JwtConfig, extra: Value) -> Result<(), JwtError> {
    verifier(config).verify(&token(&claims(extra).to_string()), NOW).map(drop)
}

#[test]
fn a_valid_token_yields_its_claims() {
    let raw = claims(json!({ "role": "admin", "nested": { "a": [1, -2, 2.5, true, null] } }));
    let got = verifier(hs()).verify(&token(&raw.to_string()), NOW).unwrap();
    assert_eq!((got.sub.as_str(), got.exp, got.topics), ("u1", NOW + 60, None));
    assert_eq!(got.raw, raw);
}

#[test]
fn exp_is_required_and_must_be_a_finite_number() {
    assert!(refused(r#"{"sub":"u"}"#));
    for exp in ["null", "\"1900000000\"", "true", "[]", "{}", "NaN", "Infinity", "1e400", "-1e400", "-1", "0", "-1e9"] {
        assert!(refused(&format!(r#"{{"sub":"u","exp":{exp}}}"#)), "exp {exp}");
    }
    for exp in ["1800000060", "1800000060.5", "1.9e9", "1e300", "18446744073709551615", "1e20"] {
        assert_eq!(outcome(&format!(r#"{{"sub":"u","exp":{exp}}}"#)), Ok("u".to_owned()), "exp {exp}");
    }
}

#[test]
fn exp_is_reported_in_whole_seconds_and_never_beyond_an_exact_number() {
    let exp = |text: &str| verifier(hs()).verify(&token(&format!(r#"{{"sub":"u","exp":{text}}}"#)), NOW).unwrap().exp;
    assert_eq!(exp("1800000060.9"), NOW + 60);
    assert_eq!(exp("1e300"), MAX_EXP);
    assert_eq!(exp("18446744073709551615"), MAX_EXP);
}

#[test]
fn iat_and_jti_are_read_and_never_refuse() {
    let got = |text: &str| {
        let claims = format!(r#"{{"sub":"u","exp":1800000060{text}}}"#);
        let claims = verifier(hs()).verify(&token(&claims), NOW).unwrap();
        (claims.iat, claims.jti)
    };
    assert_eq!(got(""), (None, None));
    assert_eq!(got(r#","iat":1799999999.9,"jti":"a\u0062""#), (Some(1_799_999_999), Some("ab".to_owned())));
    assert_eq!(got(r#","iat":-5,"jti":"""#), (Some(0), Some(String::new())));
    assert_eq!(got(r#","iat":1e300"#), (Some(MAX_EXP), None));
    for odd in ["null", "\"1\"", "[1]", "1e400"] {
        let Ok(claims) =
            verifier(hs()).verify(&token(&format!(r#"{{"sub":"u","exp":1800000060,"iat":{odd},"jti":7}}"#)), NOW)
        else {
            assert_eq!(odd, "1e400", "what is no JSON number is refused as a whole");
            continue;
        };
        assert_eq!((claims.iat, claims.jti), (None, None), "{odd}");
    }
}

#[test]
fn exp_and_nbf_have_the_leeway_and_not_a_second_more() {
    assert!(said(hs(), json!({ "exp": NOW - 29 })).is_ok());
    assert_eq!(said(hs(), json!({ "exp": NOW - 30 })), Err(JwtError::Invalid("expired")));
    assert!(said(hs(), json!({ "nbf": NOW + 30 })).is_ok());
    assert_eq!(said(hs(), json!({ "nbf": NOW + 31 })), Err(JwtError::Invalid("not valid yet")));

    let strict = || JwtConfig { leeway_secs: 0, ..hs() };
    assert!(said(strict(), json!({ "exp": NOW + 1 })).is_ok());
    assert!(said(strict(), json!({ "exp": NOW })).is_err());
    assert!(said(strict(), json!({ "nbf": NOW })).is_ok());
    assert!(said(strict(), json!({ "nbf": NOW + 1 })).is_err());

    // Extremes of clock and leeway do not overflow.
    let lax = JwtConfig { leeway_secs: u64::MAX, ..hs() };
    assert!(verifier(lax).verify(&token(&claims(json!({})).to_string()), NOW).is_ok());
    assert!(verifier(hs()).verify(&token(&claims(json!({})).to_string()), u64::MAX).is_err());
    assert!(verifier(hs()).verify(&token(r#"{"sub":"u","exp":-1}"#), 0).is_ok_and(|c| c.exp == 0));
}

/// CVE-2026-25537: a `nbf` of the wrong type must refuse the token, not skip the check.
#[test]
fn nbf_of_the_wrong_type_refuses() {
    for nbf in ["\"9999999999\"", "\"1\"", "null", "true", "[1]", "{}", "1e400"] {
        assert!(refused(&format!(r#"{{"sub":"u","exp":1900000000,"nbf":{nbf}}}"#)), "nbf {nbf}");
    }
    assert!(said(hs(), json!({ "nbf": 1.5 })).is_ok());
    assert!(said(hs(), json!({ "nbf": -5 })).is_ok());
}

#[test]
fn sub_must_be_a_string_that_is_not_empty() {
    for sub in [json!(42), json!(""), json!(true), json!(["u"]), json!({ "id": 1 }), Value::Null] {
        assert_eq!(said(hs(), json!({ "sub": sub })), Err(JwtError::MissingSubject), "sub {sub}");
    }
    assert_eq!(outcome(r#"{"exp":1900000000,"sub":null}"#), Err(JwtError::MissingSubject));
    // The peer hears "missing user ID" only of a token that is otherwise good.
    assert!(refused(r#"{"exp":1}"#));
    // Names that mean something in JavaScript are ordinary here.
    assert_eq!(outcome(r#"{"exp":1900000000,"sub":"__proto__"}"#), Ok("__proto__".to_owned()));
}

#[test]
fn issuer_is_required_when_configured() {
    let config = || JwtConfig { issuer: Some("me".into()), ..hs() };
    assert!(said(config(), json!({ "iss": "me" })).is_ok());
    for iss in [json!("you"), json!(""), json!(["me"]), json!(1), json!("ME")] {
        assert_eq!(said(config(), json!({ "iss": iss })), Err(JwtError::Invalid("iss differs")));
    }
    assert_eq!(said(config(), json!({})), Err(JwtError::Invalid("iss is missing")));

    let relaxed = || JwtConfig { allow_missing_claims: true, ..config() };
    assert!(said(relaxed(), json!({})).is_ok());
    assert!(said(relaxed(), json!({ "iss": "you" })).is_err());
    assert!(said(hs(), json!({ "iss": "anybody" })).is_ok());
}

#[test]
fn audience_is_required_when_configured_and_may_be_a_list() {
    let config = || JwtConfig { audience: Some("app".into()), ..hs() };
    for aud in [json!("app"), json!(["x", "app"]), json!(["app"])] {
        assert!(said(config(), json!({ "aud": aud })).is_ok(), "aud {aud}");
    }
    for aud in
        [json!("ap"), json!("app2"), json!([]), json!(["x"]), json!([["app"]]), json!(["app", 1]), json!({ "app": 1 })]
    {
        assert_eq!(said(config(), json!({ "aud": aud })), Err(JwtError::Invalid("aud differs")), "aud {aud}");
    }
    assert_eq!(said(config(), json!({})), Err(JwtError::Invalid("aud is missing")));
    assert!(verifier(config()).verify(&token(r#"{"sub":"u","exp":1900000000,"aud":null}"#), NOW).is_err());

    let relaxed = || JwtConfig { allow_missing_claims: true, ..config() };
    assert!(said(relaxed(), json!({})).is_ok());
    assert!(said(relaxed(), json!({ "aud": "x" })).is_err());
}

#[test]
fn duplicate_members_refuse_at_every_depth() {
    assert!(refused(r#"{"sub":"u","sub":"admin","exp":1900000000}"#));
    assert!(refused(r#"{"sub":"u","exp":1,"exp":1900000000}"#));
    assert!(refused(r#"{"sub":"u","exp":1900000000,"s\u0075b":"u"}"#));
    assert!(refused(r#"{"sub":"u","exp":1900000000,"wse_topics":{"deny":["a"],"deny":[]}}"#));
    assert!(refused(r#"{"sub":"u","exp":1900000000,"x":[{"a":1,"a":1}]}"#));
}

#[test]
fn claims_must_be_one_json_object() {
    for text in ["", "null", "[]", "\"u\"", "1", "{", r#"{"sub":"u","exp":1900000000}x"#, "\u{feff}{}"] {
        assert!(refused(text), "{text:?}");
    }
    let deep = format!(r#"{{"sub":"u","exp":1900000000,"x":{}{}}}"#, "[".repeat(2000), "]".repeat(2000));
    assert!(refused(&deep));
}

fn grant(topics: Value) -> Result<Option<TopicGrant>, JwtError> {
    let text = json!({ "sub": "u", "exp": NOW + 60, "wse_topics": topics }).to_string();
    let config = JwtConfig { max_token_bytes: 1 << 20, ..hs() };
    verifier(config).verify(&token(&text), NOW).map(|claims| claims.topics)
}

#[test]
fn topics_are_read() {
    let expected = TopicGrant { allow: vec!["user:1:*".into()], deny: vec!["*:secret".into()] };
    assert_eq!(grant(json!({ "allow": ["user:1:*"], "deny": ["*:secret"] })), Ok(Some(expected)));
    assert_eq!(grant(json!({ "deny": ["a"] })).unwrap().unwrap().deny, ["a"]);
    // The published meaning: an empty list of what is allowed opens everything.
    assert_eq!(grant(json!({ "allow": [] })), Ok(Some(TopicGrant::default())));
}

#[test]
fn malformed_topics_refuse_the_token() {
    for topics in [
        Value::Null,
        json!([]),
        json!("*"),
        json!(1),
        json!({ "allow": "*" }),
        json!({ "allow": null }),
        json!({ "allow": { "0": "*" } }),
        json!({ "allow": ["a", 1] }),
        json!({ "deny": [null] }),
        json!({ "deny": [["a"]] }),
        json!({}),
        json!({ "Allow": ["a"] }),
        json!({ "allowed": ["a"] }),
        json!({ "topics": ["a"] }),
        json!({ "deny": ["a"], "note": 1 }),
        json!({ "allow": ["a"], "Deny": ["b"] }),
    ] {
        assert!(grant(topics.clone()).is_err(), "{topics}");
    }
}

#[test]
fn topics_are_limited_in_number_and_length() {
    let many = |n: usize| vec!["t"; n];
    assert!(grant(json!({ "allow": many(MAX_GRANT_PATTERNS) })).is_ok());
    assert!(grant(json!({ "allow": many(MAX_GRANT_PATTERNS), "deny": ["t"] })).is_err());
    assert!(grant(json!({ "allow": ["t".repeat(MAX_GRANT_PATTERN_BYTES)] })).is_ok());
    assert!(grant(json!({ "deny": ["t".repeat(MAX_GRANT_PATTERN_BYTES + 1)] })).is_err());
}

#[test]
fn decode_asks_for_no_subject_but_for_everything_else() {
    let verifier = verifier(hs());
    let raw = json!({ "exp": NOW + 60, "wse_topics": 1 });
    assert_eq!(verifier.decode(&token(&raw.to_string()), NOW), Some(raw));
    assert_eq!(verifier.decode(&token(r#"{"exp":1}"#), NOW), None);
    assert_eq!(verifier.decode("x.y.z", NOW), None);
}
