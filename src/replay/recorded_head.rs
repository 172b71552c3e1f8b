//! A request head that is recorded so that it can be sent again.

use bytes::{Buf, BufMut, Bytes};
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request,
};

/// The parts of a head, with the text of all headers in one buffer.
///
/// Nearly every recorded head is dropped unused. Cloning a `HeaderMap` counts a reference for each
/// name and value, or allocates if it was not shared before. Copying the text costs less. Only a
/// head that is sent again pays for a new `HeaderMap`.
pub(super) struct RecordedHead {
    method: Method,
    uri: Uri,
    version: Version,
    extensions: Extensions,
    /// How many headers there are. A name counts once for each of its values.
    len: usize,
    /// The [`Prefix`], name and value of each header. Empty once it is shared.
    text: Vec<u8>,
    /// The same, shared with the heads that were built from it.
    shared: Bytes,
    /// Where the text of the headers ends. A small first frame of the body follows.
    end: usize,
}

impl RecordedHead {
    /// The usual size of a header. If that is not enough, the buffer grows.
    const USUAL: usize = 48;

    /// Copies the head, with room for a small first frame of the body.
    pub(super) fn new(head: &request::Parts, room: usize) -> Self {
        let len = head.headers.len();
        let mut text = Vec::with_capacity(len * Self::USUAL + room);
        for (name, value) in &head.headers {
            let name = name.as_str().as_bytes();
            let prefix = Prefix {
                name: name.len(),
                value: value.len(),
                is_sensitive: value.is_sensitive(),
            };
            text.put_u64_ne(prefix.pack());
            text.extend_from_slice(name);
            text.extend_from_slice(value.as_bytes());
        }
        Self {
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            extensions: head.extensions.clone(),
            len,
            end: text.len(),
            text,
            shared: Bytes::new(),
        }
    }

    /// Records the first frame of the body. Returns `false` if that is no longer possible.
    pub(super) fn push_body(&mut self, frame: &[u8]) -> bool {
        let is_open = self.shared.is_empty();
        if is_open {
            self.text.extend_from_slice(frame);
        }
        is_open
    }

    /// The recorded frame of the body.
    pub(super) fn body(&mut self) -> Bytes {
        self.share();
        self.shared.slice(self.end..)
    }

    fn share(&mut self) {
        if !self.text.is_empty() {
            self.shared = std::mem::take(&mut self.text).into();
        }
    }

    /// A copy of the head, with room for one more header.
    pub(super) fn clone_parts(&mut self) -> request::Parts {
        self.share();
        Self {
            method: self.method.clone(),
            uri: self.uri.clone(),
            extensions: self.extensions.clone(),
            text: Vec::new(),
            shared: self.shared.clone(),
            ..*self
        }
        .into_parts()
    }

    /// The head, with room for one more header.
    pub(super) fn into_parts(mut self) -> request::Parts {
        self.share();
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = self.method;
        head.uri = self.uri;
        head.version = self.version;
        head.headers = headers(self.len, self.shared);
        head.extensions = self.extensions;
        head
    }
}

fn headers(len: usize, mut text: Bytes) -> HeaderMap {
    // `len` counts values and can exceed a map's maximum capacity, which applies to names. Such a
    // map grows as needed.
    let mut headers = HeaderMap::try_with_capacity(len + 1).unwrap_or_default();
    for _ in 0..len {
        let prefix = Prefix::unpack(text.get_u64_ne());
        let name = HeaderName::from_lowercase(&text[..prefix.name]);
        text.advance(prefix.name);
        let value = HeaderValue::from_maybe_shared(text.split_to(prefix.value));
        let (Ok(name), Ok(mut value)) = (name, value) else {
            unreachable!("recorded from a header")
        };
        value.set_sensitive(prefix.is_sensitive);
        headers.append(name, value);
    }
    headers
}

/// Precedes each header in the text.
struct Prefix {
    name: usize,
    value: usize,
    is_sensitive: bool,
}

impl Prefix {
    /// `http` limits names to 64 KiB, and no value is longer than 128 TiB.
    const NAME_BITS: u32 = 16;

    fn pack(self) -> u64 {
        ((self.value as u64) << Self::NAME_BITS | self.name as u64) << 1
            | u64::from(self.is_sensitive)
    }

    fn unpack(packed: u64) -> Self {
        Self {
            name: (packed >> 1) as usize & ((1 << Self::NAME_BITS) - 1),
            value: (packed >> 1 >> Self::NAME_BITS) as usize,
            is_sensitive: packed & 1 != 0,
        }
    }
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_head_equals_the_original() {
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

        let mut recorded = RecordedHead::new(&head, 0);
        let (again, last) = (recorded.clone_parts(), recorded.clone_parts());
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
    #[test]
    fn a_frame_is_recorded_with_the_head_until_the_head_is_sent_again() {
        let with_header = Request::get("/").header("a", "b").body(()).unwrap();
        for (request, room) in [(Request::new(()), 0), (with_header, 5)] {
            let (head, ()) = request.into_parts();
            let mut recorded = RecordedHead::new(&head, room);
            assert!(recorded.push_body(b"frame"));
            assert_eq!(recorded.body(), "frame");
            assert!(!recorded.push_body(b"late"));
            assert_eq!(recorded.clone_parts().headers, head.headers);
            assert_eq!(recorded.body(), "frame");
        }
    }
}
