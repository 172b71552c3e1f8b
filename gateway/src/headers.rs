//! Removes the headers that a proxy must not forward.
//!
//! One pass finds those that are present. Most heads contain hardly any.

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The headers that are not forwarded in at least one direction.
///
/// `trailer` is not among them, because it describes the body, which is forwarded with its trailers.
const NAMES: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::COOKIE,
    header::TE,
    header::SET_COOKIE,
];

/// A set of [`NAMES`], with one bit each.
type Names = u16;

const CONNECTION: Names = 1;
/// The headers that apply to a single connection.
const HOP_BY_HOP: Names = 0b111_1111;
const COOKIE: Names = 1 << 7;
const TE: Names = 1 << 8;
const SET_COOKIE: Names = 1 << 9;

/// Removes the request headers that the upstream must not receive.
///
/// This includes cookies. A browser's cookies belong to the gateway's host, and a cookie set by the
/// upstream would tie a client to the session of one key. `host` replaces the host.
pub fn clean_request(headers: &mut HeaderMap, host: &HeaderValue) {
    let found = present(headers);
    let takes_trailers = found & TE != 0 && lists(headers, header::TE, "trailers");
    remove(headers, found & (HOP_BY_HOP | COOKIE | TE));
    headers.insert(header::HOST, host.clone());
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes the response headers that the client must not receive.
pub fn clean_response(headers: &mut HeaderMap) {
    let found = present(headers);
    remove(headers, found & (HOP_BY_HOP | SET_COOKIE));
}

fn present(headers: &HeaderMap) -> Names {
    headers.keys().map(bit).fold(0, |all, bit| all | bit)
}

/// The bit of a name, or 0.
fn bit(name: &HeaderName) -> Names {
    match name.as_str() {
        "connection" => 1,
        "keep-alive" => 1 << 1,
        "proxy-authenticate" => 1 << 2,
        "proxy-authorization" => 1 << 3,
        "proxy-connection" => 1 << 4,
        "transfer-encoding" => 1 << 5,
        "upgrade" => 1 << 6,
        "cookie" => COOKIE,
        "te" => TE,
        "set-cookie" => SET_COOKIE,
        _ => 0,
    }
}

/// Removes these headers, and those that `connection` lists.
fn remove(headers: &mut HeaderMap, names: Names) {
    if names & CONNECTION != 0 {
        let values = headers.get_all(header::CONNECTION).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let listed = values.flat_map(|value| value.split(',')).map(str::trim);
        // These are no headers, or are removed anyway.
        let is_common = |it: &&str| it.eq_ignore_ascii_case("keep-alive") || *it == "close";
        let others = listed.filter(|it| !is_common(it));
        let listed: Vec<HeaderName> = others.filter_map(|it| it.parse().ok()).collect();
        for name in &listed {
            headers.remove(name);
        }
    }
    let mut left = names;
    while left != 0 {
        headers.remove(&NAMES[left.trailing_zeros() as usize]);
        left &= left - 1;
    }
}

/// Whether a header lists this item.
pub fn lists(headers: &HeaderMap, name: HeaderName, item: &str) -> bool {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let mut items = values.flat_map(|value| value.split(',')).map(str::trim);
    items.any(|listed| listed.eq_ignore_ascii_case(item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_own_bit() {
        for (at, name) in NAMES.iter().enumerate() {
            assert_eq!(bit(name), 1 << at, "{name}");
        }
        assert_eq!(bit(&header::ACCEPT), 0);
    }

    #[test]
    fn headers_that_connection_lists_are_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-one"),
            ("connection", "X-Two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("te", "gzip, Trailers"),
        ] {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_static(value));
        }

        clean_request(&mut headers, &HeaderValue::from_static("upstream"));

        let left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        assert_eq!(
            left,
            [
                ("x-three", &HeaderValue::from_static("3")),
                ("host", &HeaderValue::from_static("upstream")),
                ("te", &HeaderValue::from_static("trailers"))
            ]
        );
    }
}
