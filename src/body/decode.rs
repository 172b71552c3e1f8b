//! Undoing a content encoding, for evidence.

use std::borrow::Cow;

use http::{HeaderMap, header};

/// At most `limit` bytes of what `body` holds. `None` where its encoding cannot be undone.
pub(super) fn decode<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    limit: usize,
) -> Option<Cow<'a, [u8]>> {
    match headers.get(header::CONTENT_ENCODING) {
        None => Some(Cow::Borrowed(&body[..body.len().min(limit)])),
        Some(_) => None,
    }
}
