//! The long names `type` and `payload` become `t` and `p`, in the text.
//!
//! Never parses: it works on the ranges a scan has found, and keeps every other byte as it was.

use std::borrow::Cow;

use super::scan::Scan;

/// Renames top-level `type` to `t` and `payload` to `p`, each only where the short key is absent.
///
/// `scan` must be the scan of this very `text`; the result needs a new scan if ranges are wanted. Of several `type`
/// members the last is renamed, which is the one `JSON.parse` would have taken.
pub fn normalise_aliases<'a>(text: &'a [u8], scan: &Scan<'_>) -> Cow<'a, [u8]> {
    let t = scan.type_alias.as_ref().filter(|_| scan.t.is_none()).map(|m| (m.key.clone(), b't'));
    let p = scan.payload_alias.as_ref().filter(|_| scan.p.is_none()).map(|m| (m.key.clone(), b'p'));
    let mut renames = [t, p];
    if renames.iter().all(Option::is_none) {
        return Cow::Borrowed(text);
    }
    renames.sort_by_key(|rename| rename.as_ref().map(|(key, _)| key.start));
    let mut out = Vec::with_capacity(text.len());
    let mut copied = 0;
    for (key, short) in renames.into_iter().flatten() {
        out.extend_from_slice(&text[copied..key.start]);
        out.push(short);
        copied = key.end;
    }
    out.extend_from_slice(&text[copied..]);
    Cow::Owned(out)
}
