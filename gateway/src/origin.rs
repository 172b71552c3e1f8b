//! Protects a listener without a token against web pages in a browser on this machine.
//!
//! - `Host` must be a local name if the listener is on loopback. This stops pages whose host name was
//!   changed to resolve to this machine (DNS rebinding).
//! - `Origin` and `Sec-Fetch-Site` show requests from pages of other origins.

use axum::http::Uri;
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::uri::Authority;

/// Whether every host that the request names is a local one. A request that names none is not local.
pub fn has_local_host(uri: &Uri, headers: &HeaderMap) -> bool {
    // HTTP/2 and absolute targets name the host in the target.
    let in_target = uri.authority().map(is_local);
    let in_headers = headers.get_all(header::HOST).into_iter().map(|value| {
        let host = value.to_str().unwrap_or_default();
        is_plain_local(host) || host.parse().is_ok_and(|host| is_local(&host))
    });
    let mut are_local = in_target.into_iter().chain(in_headers).peekable();
    are_local.peek().is_some() && are_local.all(|is_local| is_local)
}

/// Recognizes the usual local hosts without parsing them.
fn is_plain_local(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    matches!(name, "localhost" | "127.0.0.1") && port.bytes().all(|byte| byte.is_ascii_digit())
}

pub fn is_local(host: &Authority) -> bool {
    if host.as_str().contains('@') {
        return false;
    }
    let name = host.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a page of another origin sent the request.
pub fn is_cross_origin(uri: &Uri, headers: &HeaderMap) -> bool {
    has_foreign_origin(uri, headers) || is_cross_site(headers)
}

/// Whether `Origin` names another origin.
pub fn has_foreign_origin(uri: &Uri, headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return false;
    }
    let origin = single(headers, header::ORIGIN).and_then(|origin| origin.split_once("://"));
    let host = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => single(headers, header::HOST),
    };
    !origin
        .zip(host)
        .is_some_and(|((_, origin), host)| origin.eq_ignore_ascii_case(host))
}

/// Whether `Sec-Fetch-Site` names another origin.
pub fn is_cross_site(headers: &HeaderMap) -> bool {
    let name = HeaderName::from_static("sec-fetch-site");
    let is_ours = |site| matches!(site, Some("same-origin" | "none"));
    headers.contains_key(&name) && !is_ours(single(headers, name))
}

/// The value of a header, unless it occurs more than once.
pub fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
