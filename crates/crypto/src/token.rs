//! Owns where in an upgrade request the token is found (docs/protocol.md §2.1).
//! Never judges the token and never copies a byte.

/// The token of a request: the first usable cookie named `cookie_name`, else the `Authorization` bearer.
///
/// `cookie_headers` are the values of every `Cookie` header in order, `authorization` the value of the
/// `Authorization` header, both without surrounding whitespace. Cookies whose value is empty, `undefined` or
/// `null` (what browsers store for a variable that was not set) are skipped and the scan goes on. A cookie that
/// is present but not valid is still *the* token: a request must not get a second guess from its other header.
///
/// A token that is not UTF-8 is reported as `Some("")`, which no verifier accepts, so that it fails as an
/// invalid token and not as an absent one. `None` means that the request carries no token.
pub fn extract_token<'a>(
    cookie_headers: impl IntoIterator<Item = &'a [u8]>,
    authorization: Option<&'a [u8]>,
    cookie_name: &str,
) -> Option<&'a str> {
    cookie_headers
        .into_iter()
        .flat_map(|header| header.split(|&byte| byte == b';'))
        .find_map(|cookie| cookie_value(cookie, cookie_name))
        .or_else(|| authorization.and_then(bearer))
        .map(|token| std::str::from_utf8(token).unwrap_or(""))
}

fn cookie_value<'a>(cookie: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = cookie.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
    match value.trim_ascii() {
        b"" | b"undefined" | b"null" => None,
        value => Some(value),
    }
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::extract_token;
    use proptest::prelude::*;

    const NAME: &str = "access_token";

    fn find<'a>(cookies: &[&'a [u8]], authorization: Option<&'a [u8]>) -> Option<&'a str> {
        extract_token(cookies.iter().copied(), authorization, NAME)
    }

    #[test]
    fn a_cookie_is_found_among_others_and_trimmed() {
        assert_eq!(find(&[b"a=1; access_token=T ;b=2"], None), Some("T"));
        assert_eq!(find(&[b"access_token=a=b=="], None), Some("a=b=="));
        assert_eq!(find(&[b"a=1", b"access_token=T"], None), Some("T"));
        assert_eq!(find(&[b";;access_token=T;;"], None), Some("T"));
    }

    #[test]
    fn the_name_is_exact_and_case_sensitive() {
        assert_eq!(find(&[b"Access_Token=T"], None), None);
        assert_eq!(find(&[b"access_token2=T"], None), None);
        assert_eq!(find(&[b"xaccess_token=T"], None), None);
        assert_eq!(find(&[b"access_token"], None), None);
        assert_eq!(find(&[b"access_token =T"], None), None);
    }

    #[test]
    fn unusable_cookies_are_skipped_and_the_scan_goes_on() {
        for unusable in ["", " ", "undefined", "null", " null "] {
            let header = format!("access_token={unusable}; access_token=T");
            assert_eq!(find(&[header.as_bytes()], Some(b"Bearer B")), Some("T"), "{unusable:?}");
            let header = format!("access_token={unusable}");
            assert_eq!(find(&[header.as_bytes()], Some(b"Bearer B")), Some("B"), "{unusable:?}");
            assert_eq!(find(&[header.as_bytes()], None), None, "{unusable:?}");
        }
        // Only these exact words: they could be the start of a token.
        assert_eq!(find(&[b"access_token=NULL"], None), Some("NULL"));
    }

    #[test]
    fn the_cookie_wins_and_an_invalid_one_does_not_fall_through() {
        assert_eq!(find(&[b"access_token=C"], Some(b"Bearer B")), Some("C"));
        assert_eq!(find(&[b"access_token=not a token"], Some(b"Bearer B")), Some("not a token"));
        assert_eq!(find(&[b"access_token=\xff\xfe"], Some(b"Bearer B")), Some(""));
    }

    #[test]
    fn the_bearer_scheme_is_case_insensitive() {
        for header in ["Bearer T", "bearer T", "BEARER T", "bEaReR   T  "] {
            assert_eq!(find(&[], Some(header.as_bytes())), Some("T"), "{header}");
        }
        for header in ["", "Bearer", "Bearer ", "Bearer   ", "Basic T", "BearerT", "Bearer\tT", "Token T"] {
            assert_eq!(find(&[], Some(header.as_bytes())), None, "{header}");
        }
        assert_eq!(find(&[], None), None);
        assert_eq!(find(&[], Some("Bearer \u{fc}".as_bytes())), Some("\u{fc}"));
        assert_eq!(find(&[], Some(b"Bearer \xff")), Some(""));
    }

    #[test]
    fn foreign_bytes_in_other_cookies_do_no_harm() {
        assert_eq!(find(&[b"x=\xff\xc3(; access_token=T; y=\x80"], None), Some("T"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            cookies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4),
            authorization in prop::option::of(prop::collection::vec(any::<u8>(), 0..32)),
        ) {
            let _ = extract_token(cookies.iter().map(Vec::as_slice), authorization.as_deref(), NAME);
        }
    }
}
