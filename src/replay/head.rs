//! A request's head, kept so that it can be sent again.

use bytes::{Buf, BufMut, Bytes};
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request,
};

/// The parts of a head, with the text of all headers in one buffer.
///
/// Nearly every head that is kept is dropped unused. Cloning a `HeaderMap` counts a reference up
/// and down again for each name and value, or allocates where it was not shared before: a server
/// gives each name that it does not know its own bytes. Copying the text costs less, and leaves the
/// rest to those heads that are sent again.
pub(super) struct KeptHead {
    method: Method,
    uri: Uri,
    version: Version,
    extensions: Extensions,
    /// How many headers there are; a name counts once for each of its values.
    len: usize,
    /// Of each its [`Lengths`], its name and its value; empty once it is shared.
    text: Vec<u8>,
    /// The same, shared with the heads that were made of it.
    shared: Bytes,
}

impl KeptHead {
    /// What a header takes by experience. Where that is not enough, the buffer grows.
    const USUAL: usize = 48;

    pub(super) fn of(head: &request::Parts) -> Self {
        let len = head.headers.len();
        let mut text = Vec::with_capacity(len * Self::USUAL);
        for (name, value) in &head.headers {
            let name = name.as_str().as_bytes();
            let lengths = Lengths {
                name: name.len(),
                value: value.len(),
                is_sensitive: value.is_sensitive(),
            };
            text.put_u128_ne(lengths.pack());
            text.extend_from_slice(name);
            text.extend_from_slice(value.as_bytes());
        }
        Self {
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            extensions: head.extensions.clone(),
            len,
            text,
            shared: Bytes::new(),
        }
    }

    /// The head as it was, with room for one more header.
    pub(super) fn read(&mut self) -> request::Parts {
        if !self.text.is_empty() {
            self.shared = std::mem::take(&mut self.text).into();
        }
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = self.method.clone();
        head.uri = self.uri.clone();
        head.version = self.version;
        head.headers = headers(self.len, self.shared.clone());
        head.extensions = self.extensions.clone();
        head
    }
}

fn headers(len: usize, mut text: Bytes) -> HeaderMap {
    // More values than a map has room for may stand under a few names.
    let mut headers = HeaderMap::try_with_capacity(len + 1).unwrap_or_default();
    for _ in 0..len {
        let lengths = Lengths::unpack(text.get_u128_ne());
        let name = HeaderName::from_lowercase(&text[..lengths.name]);
        text.advance(lengths.name);
        let value = HeaderValue::from_maybe_shared(text.split_to(lengths.value));
        let (Ok(name), Ok(mut value)) = (name, value) else {
            unreachable!("it was a header before")
        };
        value.set_sensitive(lengths.is_sensitive);
        headers.append(name, value);
    }
    headers
}

/// What stands before a header in the text.
struct Lengths {
    name: usize,
    value: usize,
    is_sensitive: bool,
}

impl Lengths {
    fn pack(self) -> u128 {
        (self.value as u128) << 64 | (self.name as u128) << 1 | u128::from(self.is_sensitive)
    }

    fn unpack(packed: u128) -> Self {
        Self {
            name: (packed as u64 >> 1) as usize,
            value: (packed >> 64) as usize,
            is_sensitive: packed & 1 != 0,
        }
    }
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_kept_head_is_what_it_was() {
        let mut request = Request::put("http://upstream.test/a?b=c")
            .version(Version::HTTP_2)
            .extension("extension")
            .header("x-list", "1")
            .header("accept", "*/*")
            .header("x-list", "2")
            .header("x-empty", "")
            .header("x-bytes", &b"\xff\t\x80"[..])
            .body(())
            .unwrap();
        let accept = request.headers_mut().get_mut("accept").unwrap();
        accept.set_sensitive(true);
        let (head, ()) = request.into_parts();

        let mut kept = KeptHead::of(&head);
        let (again, last) = (kept.read(), kept.read());
        let debug = |head: &request::Parts| {
            let headers: Vec<_> = head.headers.iter().collect();
            format!(
                "{} {} {:?} {headers:?}",
                head.method, head.uri, head.version
            )
        };
        for again in [again, last] {
            assert_eq!(debug(&again), debug(&head));
            assert_eq!(again.headers, head.headers);
            assert_eq!(again.extensions.get::<&str>(), Some(&"extension"));
        }
    }
}
