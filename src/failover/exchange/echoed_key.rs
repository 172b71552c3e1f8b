//! A key that the provider echoes is removed from the forwarded response.
//!
//! What contains a key is removed as a whole: a header, a trailer, the reason phrase, an inspected
//! body. Data that streams through is not searched. `ResponseBody` searches its trailers.

use bytes::Bytes;
use http::{header, response};
use http_body::Body;
use hyper::ext::ReasonPhrase;

use super::Exchange;
use crate::failover::attempt::AttemptRecord;
use crate::failover::response_body::BodyKind;
use crate::inspect::remove_from_headers;
use crate::pool::Key;

impl<S, P, B> Exchange<S, P, B> {
    /// Removes all keys that this request was sent with.
    pub(super) fn remove_echoed_keys<R>(&self, head: &mut response::Parts, body: &mut BodyKind<R>)
    where
        R: Body<Data = Bytes>,
    {
        remove(self.key(), head, body);
        let refused = self.refused().iter().map(AttemptRecord::key);
        for key in refused.filter(|key| !key.is_same(self.key())) {
            remove(key, head, body);
        }
    }
}

fn remove<R>(key: &Key, head: &mut response::Parts, body: &mut BodyKind<R>)
where
    R: Body<Data = Bytes>,
{
    let search = key.search();
    remove_from_headers(&mut head.headers, search);
    // A server sends it with HTTP/1 instead of the usual phrase.
    if let Some(phrase) = head.extensions.get::<ReasonPhrase>()
        && search.finds_in(phrase.as_bytes())
    {
        head.extensions.remove::<ReasonPhrase>();
    }
    if body.remove_key(&head.headers, search) {
        // They describe the body that was removed.
        for name in [
            header::CONTENT_ENCODING,
            header::CONTENT_LENGTH,
            header::CONTENT_RANGE,
        ] {
            head.headers.remove(name);
        }
    }
}
