//! What ends at a proxy, in either direction.

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers of one connection, which the next has its own of. `trailer` is not among them: it
/// announces what comes after the body, and the body is passed on with it.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Takes out of a request what is not for the upstream.
///
/// Cookies are among it: those that a browser sends here are meant for the gateway's own host, and
/// one that an upstream set would tie a client to one key's session.
pub fn clean_request(headers: &mut HeaderMap) {
    let takes_trailers = headers.get_all(header::TE).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value
            .split(',')
            .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    });
    remove_hop_by_hop(headers);
    headers.remove(header::COOKIE);
    // The client sets its own, from the target.
    headers.remove(header::HOST);
    headers.remove(header::TE);
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Takes out of an answer what is not for the client.
pub fn clean_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove(header::SET_COOKIE);
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}
