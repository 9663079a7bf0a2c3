//! Which key: `kid`, rotation, configuration, and making tokens.

mod common;

use common::{
    EC, EC384, HEADER, NOW, OLD_SECRET, OTHER_RSA, RSA, SECRET, claims, good, hs, public, raw_token, refuses, token,
    verifier,
};
use serde_json::{Value, json};
use wse_crypto::jwt::{
    Algorithm, JwtConfig, JwtEncodeError, JwtError, JwtKey, JwtVerifier, MAX_KID_BYTES, decode, encode,
};

fn config_field(config: JwtConfig) -> &'static str {
    JwtVerifier::new(config).unwrap_err().field
}

fn with_kid(kid: &str, secret: &[u8]) -> String {
    encode(&claims(json!({})), secret, Algorithm::HS256, Some(kid)).unwrap()
}

#[test]
fn kid_is_enforced_when_configured_and_checked_first() {
    let verifier = verifier(JwtConfig { key_id: Some("k2".into()), ..hs() });
    assert!(verifier.verify(&with_kid("k2", SECRET), NOW).is_ok());
    for token in [with_kid("k1", SECRET), with_kid("", SECRET), token(&good()), with_kid("K2", OLD_SECRET)] {
        assert_eq!(verifier.verify(&token, NOW), Err(JwtError::Invalid("kid differs")));
    }
    assert_eq!(verifier.verify(&with_kid("k2", OLD_SECRET), NOW), Err(JwtError::Invalid("bad signature")));
}

#[test]
fn the_previous_key_serves_tokens_of_before_the_rotation() {
    let rotated = || JwtConfig { previous_key: Some(OLD_SECRET.into()), ..hs() };
    let plain = verifier(rotated());
    assert!(plain.verify(&with_kid("any", OLD_SECRET), NOW).is_ok());
    assert!(plain.verify(&token(&good()), NOW).is_ok());

    let with_id = verifier(JwtConfig { key_id: Some("k2".into()), ..rotated() });
    for kid in ["k1", "k2", ""] {
        assert!(with_id.verify(&with_kid(kid, OLD_SECRET), NOW).is_ok(), "old key, kid {kid:?}");
    }
    assert!(with_id.verify(&raw_token(HEADER, &good(), OLD_SECRET), NOW).is_ok());
    // The new key under another kid is not the new key.
    assert!(refuses(&with_id, &with_kid("k1", SECRET)));
    assert!(refuses(&with_id, &with_kid("k1", b"another secret another secret 32")));
    // Claims are checked on this way too.
    let expired = encode(&claims(json!({ "exp": 1 })), OLD_SECRET, Algorithm::HS256, None).unwrap();
    assert_eq!(plain.verify(&expired, NOW), Err(JwtError::Invalid("expired")));
    // And so is the algorithm.
    assert!(refuses(&plain, &raw_token(r#"{"alg":"none"}"#, &good(), OLD_SECRET)));
}

#[test]
fn rotation_works_with_public_keys() {
    let config =
        JwtConfig { previous_key: Some(RSA.public.clone().into()), ..public(Algorithm::RS256, &OTHER_RSA.public) };
    let verifier = verifier(config);
    for key in [&RSA, &OTHER_RSA] {
        let made = encode(&claims(json!({})), key.private.as_bytes(), Algorithm::RS256, None).unwrap();
        assert!(verifier.verify(&made, NOW).is_ok());
    }
}

#[test]
fn a_configuration_that_cannot_work_names_its_option() {
    use Algorithm::{ES256, HS256, RS256};
    assert_eq!(config_field(JwtConfig::new(HS256, &SECRET[..31])), "secret");
    assert_eq!(config_field(JwtConfig::new(HS256, "")), "secret");
    // A published key as a secret is the confusion attack by configuration.
    assert_eq!(config_field(JwtConfig::new(HS256, RSA.public.as_str())), "secret");
    assert_eq!(config_field(JwtConfig { previous_key: Some(b"short".into()), ..hs() }), "previousSecret");
    assert_eq!(config_field(JwtConfig { key_id: Some(String::new()), ..hs() }), "keyId");
    assert_eq!(config_field(JwtConfig { issuer: Some(String::new()), ..hs() }), "issuer");
    assert_eq!(config_field(JwtConfig { audience: Some(String::new()), ..hs() }), "audience");
    assert_eq!(config_field(JwtConfig { max_token_bytes: 0, ..hs() }), "maxTokenBytes");

    for bad in [
        SECRET,
        b"",
        RSA.private.as_bytes(),
        EC.public.as_bytes(),
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ] {
        assert_eq!(config_field(JwtConfig::new(RS256, bad)), "secret");
    }
    for bad in [SECRET, EC.private.as_bytes(), RSA.public.as_bytes(), EC384.public.as_bytes(), b"\xff\xff"] {
        assert_eq!(config_field(JwtConfig::new(ES256, bad)), "secret");
    }
    assert_eq!("none".parse::<Algorithm>().unwrap_err().field, "algorithm");
    assert_eq!("RS256".parse(), Ok(RS256));
}

#[test]
fn nothing_secret_is_printed() {
    let config = JwtConfig { previous_key: Some(OLD_SECRET.into()), ..hs() };
    let shown = format!("{config:?} {:?}", verifier(config.clone()));
    let bytes = format!("{SECRET:?}");
    assert!(!shown.contains("0123456789") && !shown.contains("fedcba") && !shown.contains(&bytes[1..20]));
}

#[test]
fn a_token_is_signed_with_a_key_of_its_algorithm() {
    use Algorithm::{ES256, HS256, RS256};
    let sign = |algorithm, key: &str| encode(&claims(json!({})), key.as_bytes(), algorithm, Some("k"));
    let keyed = JwtConfig { key_id: Some("k".into()), ..public(ES256, &EC.public) };
    assert!(verifier(keyed).verify(&sign(ES256, &EC.private).unwrap(), NOW).is_ok());
    assert!(verifier(public(RS256, &RSA.public)).verify(&sign(RS256, &RSA.private).unwrap(), NOW).is_ok());
    for (algorithm, key) in [
        (HS256, "short"),
        (RS256, RSA.public.as_str()),
        (RS256, EC.private.as_str()),
        (ES256, EC.public.as_str()),
        (ES256, EC384.private.as_str()),
        (ES256, RSA.private.as_str()),
        (ES256, "-----BEGIN EC PRIVATE KEY-----\n"),
    ] {
        assert!(matches!(sign(algorithm, key), Err(JwtEncodeError::Key(error)) if error.field == "key"), "{algorithm}");
    }
    assert_eq!(encode(&json!([]), SECRET, HS256, None), Err(JwtEncodeError::ClaimsNotAnObject));
}

#[test]
fn the_one_off_helpers_agree_with_each_other() {
    let claims = claims(json!({ "iss": "me", "aud": ["a"], "text": "ü\u{0}\"" }));
    let made = encode(&claims, OLD_SECRET, Algorithm::HS256, Some("k1")).unwrap();
    let config = || JwtConfig { issuer: Some("me".into()), audience: Some("a".into()), ..hs() };
    let rotated = JwtConfig { previous_key: Some(OLD_SECRET.into()), key_id: Some("k2".into()), ..config() };
    assert_eq!(decode(&made, rotated, NOW), Some(claims));
    assert_eq!(decode(&made, config(), NOW), None::<Value>);
    assert_eq!(decode(&made, JwtConfig::new(Algorithm::HS256, "short"), NOW), None);
}

/// Not a test of speed, but it says what the speed is:
/// `cargo test -p wse-crypto --release --test jwt_keys -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
#[allow(clippy::print_stderr)]
fn time_of_one_verification() {
    let rs = public(Algorithm::RS256, &RSA.public);
    let es = public(Algorithm::ES256, &EC.public);
    let topics = json!({ "allow": ["user:1:*", "news"], "deny": [] });
    let claims = claims(json!({ "iss": "me", "aud": "app", "iat": NOW, "wse_topics": topics }));
    let keys = [(hs(), SECRET, 200_000_u32), (rs, RSA.private.as_bytes(), 10_000), (es, EC.private.as_bytes(), 10_000)];
    for (config, key, rounds) in keys {
        let algorithm = config.algorithm;
        let token = encode(&claims, key, algorithm, None).unwrap();
        let verifier = verifier(config);
        let start = std::time::Instant::now();
        for _ in 0..rounds {
            assert!(verifier.verify(&token, NOW).is_ok());
        }
        eprintln!("{algorithm}: {:?}", start.elapsed() / rounds);
    }
}

#[test]
fn a_key_found_by_its_name_checks_its_own_algorithm_and_nothing_else() {
    let config = JwtConfig { issuer: Some("i".into()), ..JwtConfig::new(Algorithm::ES256, "looked at by nobody") };
    let verifier = JwtVerifier::keyless(config).unwrap();
    let signed = |extra: Value, key: &common::Pair, kid: Option<&str>| {
        encode(&claims(extra), key.private.as_bytes(), Algorithm::ES256, kid).unwrap()
    };
    let issued = || json!({ "iss": "i" });
    let good = signed(issued(), &EC, Some("k1"));
    assert_eq!(verifier.kid(&good), Ok(Some("k1".into())));
    assert_eq!(verifier.kid(&signed(issued(), &EC, None)), Ok(None));
    let key = JwtKey::new(Algorithm::ES256, EC.public.as_bytes()).unwrap();
    assert_eq!(verifier.verify_with(&key, &good, NOW).unwrap().sub, "u1");
    // Without a key it believes nothing.
    assert!(refuses(&verifier, &good) && verifier.decode(&good, NOW).is_none());

    let bad = |token: &str| matches!(verifier.verify_with(&key, token, NOW), Err(JwtError::Invalid(_)));
    assert!(bad(&signed(issued(), &common::OTHER_EC, Some("k1"))), "another's signature under this name");
    assert!(bad(&signed(json!({}), &EC, Some("k1"))), "claims are checked on this way too");
    assert!(bad(&signed(json!({ "iss": "i", "exp": 1 }), &EC, Some("k1"))));
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS256","kid":"k1"}"#] {
        // The public key as the secret of an HMAC.
        let token = raw_token(header, &claims(issued()).to_string(), EC.public.as_bytes());
        assert!(bad(&token) && verifier.kid(&token).is_err(), "{header}");
    }
    let named = |kid: &str| verifier.kid(&signed(issued(), &EC, Some(kid)));
    assert!(named(&"k".repeat(MAX_KID_BYTES)).is_ok() && named(&"k".repeat(MAX_KID_BYTES + 1)).is_err());
    for (algorithm, key) in [
        (Algorithm::HS256, EC.public.as_bytes()),
        (Algorithm::HS256, b"short"),
        (Algorithm::ES256, RSA.public.as_bytes()),
        (Algorithm::ES256, EC384.public.as_bytes()),
        (Algorithm::ES256, EC.private.as_bytes()),
    ] {
        assert_eq!(JwtKey::new(algorithm, key).err().unwrap().field, "key");
    }
    let empty = JwtConfig { audience: Some(String::new()), ..JwtConfig::new(Algorithm::ES256, "") };
    assert_eq!(JwtVerifier::keyless(empty).err().unwrap().field, "audience");
}
