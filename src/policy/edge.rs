//! Responses of an edge (a CDN, a firewall, a load balancer) in front of the provider, which never
//! checked the key.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

/// Whether the type alone is evidence of an edge. No provider responds to API requests in HTML, and
/// HTML says no more than its status.
pub(super) fn is_html_type(headers: &HeaderMap) -> bool {
    let media_type = media_type(headers);
    [&b"text/html"[..], b"application/xhtml+xml"]
        .iter()
        .any(|html| media_type.eq_ignore_ascii_case(html))
}

/// Whether the content is evidence of an edge. `json` is the body if it is JSON.
pub(super) fn wrote(headers: &HeaderMap, body: &[u8], json: &Value) -> bool {
    is_html(body) || is_error_code(body) || is_front_matter(body) || is_problem(headers, json)
}

fn is_html(body: &[u8]) -> bool {
    [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|html| starts_with(body.trim_ascii_start(), html))
}

/// Cloudflare's plain text: `error code: 1010`.
fn is_error_code(body: &[u8]) -> bool {
    const LEAD: &[u8] = b"error code:";

    let body = body.trim_ascii();
    let number = body.get(LEAD.len()..).unwrap_or_default().trim_ascii();
    starts_with(body, LEAD) && !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

/// Cloudflare's Markdown, which has the fields of its JSON in front.
fn is_front_matter(body: &[u8]) -> bool {
    let Some(rest) = body.trim_ascii_start().strip_prefix(b"---") else {
        return false;
    };
    rest.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .take_while(|line| *line != b"---")
        .any(|line| line == b"cloudflare_error: true")
}

/// RFC 9457 with the fields of an edge. The format alone proves nothing, since a provider may use
/// it, too.
fn is_problem(headers: &HeaderMap, json: &Value) -> bool {
    if json["cloudflare_error"] == true {
        return true;
    }
    let is_edge_type = || {
        let kind = json["type"].as_str().unwrap_or("");
        kind.contains("://developers.cloudflare.com/")
    };
    media_type(headers).eq_ignore_ascii_case(b"application/problem+json")
        && (json["error_code"].is_number() || json["ray_id"].is_string() || is_edge_type())
}

/// The content type without its parameters.
fn media_type(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(CONTENT_TYPE);
    let value = value.map_or(&b""[..], |value| value.as_bytes());
    let end = value.iter().position(|byte| *byte == b';');
    value[..end.unwrap_or(value.len())].trim_ascii()
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}
