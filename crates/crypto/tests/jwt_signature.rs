//! Who signed: algorithms, headers, the shape of a token.

mod common;

use common::{
    EC, HEADER, NOW, OTHER_EC, OTHER_RSA, RSA, SECRET, claims, good, hs, public, raw_token, refuses, token, verifier,
};
use serde_json::json;
use wse_crypto::jwt::{Algorithm, JwtConfig, JwtError, encode};

#[test]
fn each_algorithm_verifies_its_own_signature_and_no_other_key() {
    for (algorithm, key, other) in [(Algorithm::RS256, &RSA, &OTHER_RSA), (Algorithm::ES256, &EC, &OTHER_EC)] {
        let verifier = verifier(public(algorithm, &key.public));
        let made = encode(&claims(json!({})), key.private.as_bytes(), algorithm, None).unwrap();
        assert_eq!(verifier.verify(&made, NOW).unwrap().sub, "u1");
        let foreign = encode(&claims(json!({})), other.private.as_bytes(), algorithm, None).unwrap();
        assert_eq!(verifier.verify(&foreign, NOW), Err(JwtError::Invalid("bad signature")));
    }
}

/// RFC 7515 appendix A.1: a token made by nobody here.
#[test]
fn the_token_of_the_rfc_verifies() {
    let key = [
        3, 35, 53, 75, 43, 15, 165, 188, 131, 126, 6, 101, 119, 123, 166, 143, 90, 179, 40, 230, 240, 84, 201, 40, 169,
        15, 132, 178, 210, 80, 46, 191, 211, 251, 90, 146, 210, 6, 71, 239, 150, 138, 180, 195, 119, 98, 61, 34, 61,
        46, 33, 114, 5, 46, 79, 8, 192, 205, 154, 245, 103, 208, 128, 163,
    ];
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let verifier = verifier(JwtConfig::new(Algorithm::HS256, key));
    assert_eq!(verifier.decode(token, 1_300_819_379).unwrap()["iss"], "joe");
    assert_eq!(verifier.verify(token, 1_300_819_379), Err(JwtError::MissingSubject));
    assert!(refuses(&verifier, token));
}

#[test]
fn the_algorithm_cannot_be_chosen_by_the_token() {
    // HS/RS confusion: the public key, known to everybody, used as an HMAC secret.
    for (algorithm, key) in [(Algorithm::RS256, &RSA), (Algorithm::ES256, &EC)] {
        let verifier = verifier(public(algorithm, &key.public));
        let forged = raw_token(HEADER, &good(), key.public.as_bytes());
        assert_eq!(verifier.verify(&forged, NOW), Err(JwtError::Invalid("alg differs")));
        // The same tag under the header that the verifier expects.
        let header = format!(r#"{{"alg":"{algorithm}"}}"#);
        assert!(refuses(&verifier, &raw_token(&header, &good(), key.public.as_bytes())));
    }
    let hs = verifier(hs());
    let rs = encode(&claims(json!({})), RSA.private.as_bytes(), Algorithm::RS256, None).unwrap();
    assert!(refuses(&hs, &rs));
    for alg in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS384", "HS512", "RS256", "EdDSA"] {
        let header = json!({ "alg": alg }).to_string();
        let signed = raw_token(&header, &good(), SECRET);
        assert!(refuses(&hs, &signed), "alg {alg:?}");
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        assert!(refuses(&hs, &unsigned), "alg {alg:?} without signature");
    }
}

#[test]
fn headers_that_cannot_be_trusted_are_refused() {
    let hs = verifier(hs());
    for header in [
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":null}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        "[]",
        "",
        "null",
    ] {
        assert!(refuses(&hs, &raw_token(header, &good(), SECRET)), "{header}");
    }
    // Keys and places of keys in the header are not followed and do no harm.
    let noisy = r#"{"alg":"H\u0053256","typ":"x","jku":"http://169.254.169.254/","jwk":{"kty":"oct","k":"AA"},"x":1}"#;
    assert!(hs.verify(&raw_token(noisy, &good(), SECRET), NOW).is_ok());
    let kid = r#"{"alg":"HS256","kid":"../../dev/null"}"#;
    assert!(hs.verify(&raw_token(kid, &good(), SECRET), NOW).is_ok());
}

#[test]
fn a_changed_token_is_refused() {
    let hs = verifier(hs());
    let good = token(&good());
    assert!(hs.verify(&good, NOW).is_ok());
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(refuses(&hs, std::str::from_utf8(&bytes).unwrap()), "byte {at}");
    }
    for end in 0..good.len() {
        assert!(refuses(&hs, &good[..end]), "cut at {end}");
    }
    for token in [
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}\n"),
        good.replace('.', ""),
        good.replace('.', ".."),
        "..".to_owned(),
        "ü.ü.ü".to_owned(),
        "\0".to_owned(),
    ] {
        assert!(refuses(&hs, &token), "{token:?}");
    }
}

#[test]
fn a_token_has_one_spelling() {
    // 32 bytes leave two bits over in the last character of the signature; they must be zero.
    let hs = verifier(hs());
    let good = token(&good());
    let last = good.chars().last().unwrap();
    let accepted = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        .chars()
        .filter(|c| hs.verify(&format!("{}{c}", &good[..good.len() - 1]), NOW).is_ok())
        .collect::<Vec<_>>();
    assert_eq!(accepted, [last]);
}

#[test]
fn a_long_token_is_refused_before_any_work() {
    let of_len = |len: usize| {
        let with = |pad: usize| token(&claims(json!({ "pad": "x".repeat(pad) })).to_string());
        (0..len).map(with).find(|token| token.len() >= len).unwrap()
    };
    let hs = verifier(JwtConfig { max_token_bytes: 400, ..hs() });
    let fits = of_len(399);
    assert!(fits.len() <= 400 && hs.verify(&fits, NOW).is_ok());
    assert_eq!(hs.verify(&of_len(401), NOW), Err(JwtError::Invalid("too long")));
    let default = verifier(common::hs());
    assert_eq!(default.verify(&"a".repeat(8193), NOW), Err(JwtError::Invalid("too long")));
    assert_eq!(default.verify(&"a".repeat(8192), NOW), Err(JwtError::Invalid("not three parts")));
}
