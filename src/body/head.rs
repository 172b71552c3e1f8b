//! A request's head, kept so that it can be sent again.

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request,
};

/// The parts of a head, with the bytes of all header values in one buffer.
///
/// Nearly every head that is kept is dropped unused. Cloning a `HeaderMap` counts a reference up
/// and down again for each value, or allocates where it was not shared before, and copies the map's
/// index. Copying the bytes costs less, and leaves the rest to those heads that are sent again.
pub(super) struct KeptHead {
    method: Method,
    uri: Uri,
    version: Version,
    extensions: Extensions,
    /// In the map's order; a name stands once for each of its values.
    fields: Vec<Field>,
    values: Bytes,
}

struct Field {
    name: HeaderName,
    len: usize,
    is_sensitive: bool,
}

impl KeptHead {
    pub(super) fn of(head: &request::Parts) -> Self {
        let len = head.headers.values().map(HeaderValue::len).sum();
        let mut values = Vec::with_capacity(len);
        // The map's iterators do not tell how much is left.
        let mut fields = Vec::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            values.extend_from_slice(value.as_bytes());
            fields.push(Field {
                name: name.clone(),
                len: value.len(),
                is_sensitive: value.is_sensitive(),
            });
        }
        Self {
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            extensions: head.extensions.clone(),
            fields,
            values: values.into(),
        }
    }

    /// The head as it was, with room for one more header.
    pub(super) fn to_parts(&self) -> request::Parts {
        // More values than a map has room for may stand under a few names.
        let headers = HeaderMap::try_with_capacity(self.fields.len() + 1);
        let mut headers = headers.unwrap_or_default();
        let mut values = self.values.clone();
        for field in &self.fields {
            let value = HeaderValue::from_maybe_shared(values.split_to(field.len));
            let mut value = value.expect("it was a value before");
            value.set_sensitive(field.is_sensitive);
            headers.append(&field.name, value);
        }
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = self.method.clone();
        head.uri = self.uri.clone();
        head.version = self.version;
        head.headers = headers;
        head.extensions = self.extensions.clone();
        head
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

        let again = KeptHead::of(&head).to_parts();
        let debug = |head: &request::Parts| {
            let headers: Vec<_> = head.headers.iter().collect();
            format!(
                "{} {} {:?} {headers:?}",
                head.method, head.uri, head.version
            )
        };
        assert_eq!(debug(&again), debug(&head));
        assert_eq!(again.headers, head.headers);
        assert_eq!(again.extensions.get::<&str>(), Some(&"extension"));
    }
}
