//! Owns where in an upgrade request the token is found (docs/protocol.md §2.1).
//! Never judges the token and never copies a byte.

/// A place in an upgrade request where its token may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// The cookie of this name.
    Cookie(String),
    /// `Authorization: Bearer …`.
    Header,
    /// The parameter of this name in the query, as it stands: a token needs no percent-encoding.
    Query(String),
    /// The entry of the subprotocols that begins with [`SUBPROTOCOL`]. It is never agreed on.
    Subprotocol,
}

/// What an offered subprotocol that is a token begins with.
pub const SUBPROTOCOL: &[u8] = b"bearer.";

/// The parts of an upgrade request a token may be in.
#[derive(Debug, Clone, Copy)]
pub struct Carrier<'a> {
    /// The values of all `Cookie` headers, joined with `; `.
    pub cookies: &'a [u8],
    /// The value of the `Authorization` header, without surrounding whitespace.
    pub authorization: Option<&'a [u8]>,
    /// The query, without its `?`.
    pub query: &'a [u8],
    /// The values of all `Sec-WebSocket-Protocol` headers, joined with `,`.
    pub subprotocols: &'a [u8],
}

/// The token of a request: that of the first of `sources` that has one.
///
/// Values that are empty, `undefined` or `null` (what browsers store for a variable that was not set) are skipped and the
/// search goes on. A token that is present but not valid is still *the* token: a request must not get a second guess.
///
/// A token that is not UTF-8 is reported as `Some("")`, which no verifier accepts, so that it fails as an
/// invalid token and not as an absent one. `None` means that the request carries no token.
pub fn extract_token<'a>(carrier: Carrier<'a>, sources: &[TokenSource]) -> Option<&'a str> {
    let found = sources.iter().find_map(|source| match source {
        TokenSource::Cookie(name) => carrier.cookies.split(|&byte| byte == b';').find_map(|cookie| named(cookie, name)),
        TokenSource::Header => carrier.authorization.and_then(bearer),
        TokenSource::Query(name) => carrier.query.split(|&byte| byte == b'&').find_map(|pair| named(pair, name)),
        TokenSource::Subprotocol => {
            let mut offered = carrier.subprotocols.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            offered.find_map(|entry| entry.strip_prefix(SUBPROTOCOL).and_then(usable))
        }
    });
    found.map(|token| std::str::from_utf8(token).unwrap_or(""))
}

fn named<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    usable(pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?)
}

fn usable(value: &[u8]) -> Option<&[u8]> {
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
    use super::{Carrier, TokenSource, extract_token};
    use proptest::prelude::*;

    const NAME: &str = "access_token";

    fn find(cookies: &[&[u8]], authorization: Option<&[u8]>) -> Option<&'static str> {
        let cookies = cookies.join(&b"; "[..]);
        let carrier = Carrier { cookies: &cookies, authorization, query: b"access_token=Q", subprotocols: b"bearer.S" };
        let sources = [TokenSource::Cookie(NAME.into()), TokenSource::Header];
        extract_token(carrier, &sources).map(|token| &*token.to_owned().leak())
    }

    #[test]
    fn the_sources_are_asked_in_their_order_and_no_other_is() {
        let carrier = Carrier {
            cookies: b"access_token=C",
            authorization: Some(b"Bearer H"),
            query: b"format=msgpack&x_token=no&token=Q&token=second",
            subprotocols: b"chat.v1, bearer.S,bearer.second",
        };
        let (query, subprotocol) = (TokenSource::Query("token".into()), TokenSource::Subprotocol);
        let cookie = TokenSource::Cookie(NAME.into());
        assert_eq!(extract_token(carrier, std::slice::from_ref(&query)), Some("Q"));
        assert_eq!(extract_token(carrier, std::slice::from_ref(&subprotocol)), Some("S"));
        assert_eq!(extract_token(carrier, &[subprotocol.clone(), query.clone(), cookie.clone()]), Some("S"));
        assert_eq!(extract_token(carrier, &[query.clone(), cookie]), Some("Q"));
        assert_eq!(extract_token(carrier, &[]), None);
        let none = Carrier { query: b"token=&token=null&token", subprotocols: b"bearer.,chat, Bearer.x", ..carrier };
        assert_eq!(extract_token(none, &[query, subprotocol]), None);
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
            let cookies = cookies.join(&b"; "[..]);
            let carrier =
                Carrier { cookies: &cookies, authorization: authorization.as_deref(), query: &cookies, subprotocols: &cookies };
            let (cookie, query) = (TokenSource::Cookie(NAME.into()), TokenSource::Query(NAME.into()));
            let _ = extract_token(carrier, &[cookie, TokenSource::Header, query, TokenSource::Subprotocol]);
        }
    }
}
