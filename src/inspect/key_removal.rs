//! Removes the headers and trailers that contain a key.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::key_search::KeySearch;

/// Removes each header, with all of its values, of which one contains the key.
pub(crate) fn remove_from_headers(headers: &mut HeaderMap, search: KeySearch<'_>) {
    let find = |headers: &HeaderMap| {
        let mut headers = headers.iter();
        let found = headers.find(|(name, value)| contains(name, value, search));
        found.map(|(name, _)| name.clone())
    };
    while let Some(name) = find(headers) {
        headers.remove(name);
    }
}

fn contains(name: &HeaderName, value: &HeaderValue, search: KeySearch<'_>) -> bool {
    let value = value.as_bytes();
    // Most values are too short.
    value.len() >= search.min_len()
        && (search.finds_in(value) || binary_contains(name, value, search))
}

/// Binary metadata of gRPC is base64 with a binary format in it, which can hold any form of a key.
#[cfg(feature = "grpc")]
fn binary_contains(name: &HeaderName, value: &[u8], search: KeySearch<'_>) -> bool {
    let is_binary = name.as_str().ends_with("-bin");
    is_binary
        && crate::binary::decode_each(value)
            .flatten()
            .any(|bytes| search.finds_in(&bytes))
}

#[cfg(not(feature = "grpc"))]
fn binary_contains(_: &HeaderName, _: &[u8], _: KeySearch<'_>) -> bool {
    false
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use std::sync::OnceLock;

    use http::HeaderMap;

    use super::remove_from_headers;
    use crate::key_search::KeySearch;

    #[test]
    fn a_header_that_contains_the_key_is_removed_and_the_others_stay() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "location",
            "/login?key=sk%2Dant-0123456789".parse().unwrap(),
        );
        headers.append("set-cookie", "a=b".parse().unwrap());
        headers.append("set-cookie", "c=sk-ant-0123456789; secure".parse().unwrap());
        headers.insert(
            "x-request-id",
            "a-long-identifier-of-a-request".parse().unwrap(),
        );
        headers.append("vary", "accept".parse().unwrap());
        headers.append("vary", "origin".parse().unwrap());
        let key = "sk-ant-0123456789";
        let pairs = OnceLock::new();
        remove_from_headers(&mut headers, KeySearch::new(key, &pairs));
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["vary", "vary", "x-request-id"]);
    }
}
