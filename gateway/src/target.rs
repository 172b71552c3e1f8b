//! Normalizes the target of a request, so that it cannot leave the base path of the upstream.
//!
//! Upstreams and the proxies in front of them disagree on what a path means: some decode it twice, some
//! take `\` or `%2f` for `/`, some merge slashes. A target is rejected if any of these readings could
//! leave the base path. Dot segments that stay below it are resolved. Everything else is unchanged, byte
//! for byte: `%2F` is legal, for example in the model names of Bedrock.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use percent_encoding::percent_decode;

/// How often a path may be percent-encoded.
const MAX_ENCODINGS: usize = 4;

/// Normalizes the path. The error is a message for the client.
pub fn normalize(uri: &mut Uri) -> Result<(), &'static str> {
    // Others are `*`, and the targets of CONNECT.
    let has_path = uri
        .path_and_query()
        .is_some_and(|it| it.as_str().starts_with('/'));
    if !has_path {
        return Err("the request's target has no path");
    }
    let path = uri.path();
    let is_odd = path.bytes().any(|byte| matches!(byte, b'%' | b'\\'));
    if !is_odd && !path.contains("//") && !path.contains("/.") {
        return Ok(());
    }
    let resolved = resolve(path)?;
    if resolved == path {
        return Ok(());
    }
    let target = match uri.query() {
        Some(query) => format!("{resolved}?{query}"),
        None => resolved,
    };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    *uri = Uri::from_parts(parts).map_err(|_| "the request's target is invalid")?;
    Ok(())
}

/// The path without dot segments.
fn resolve(path: &str) -> Result<String, &'static str> {
    let mut kept = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
            "" if is_last => kept.push(""),
            "." => {}
            ".." if kept.pop().is_none() => {
                return Err("the request's target leaves the base path");
            }
            ".." => {}
            _ => {
                check(segment)?;
                kept.push(segment);
                continue;
            }
        }
        // `/a/.` and `/a/b/..` end with a slash.
        if is_last && !segment.is_empty() {
            kept.push("");
        }
    }
    Ok(format!("/{}", kept.join("/")))
}

/// Rejects a segment that some upstream could take for more than a name.
fn check(segment: &str) -> Result<(), &'static str> {
    let mut decoded = segment.as_bytes().to_vec();
    for _ in 0..MAX_ENCODINGS {
        decoded = percent_decode(&decoded).collect();
    }
    if percent_decode(&decoded).ne(decoded.iter().copied()) {
        return Err("the request's target is encoded too often");
    }
    let Ok(decoded) = String::from_utf8(decoded) else {
        return Err("the request's target is not UTF-8");
    };
    if decoded.contains(|character: char| character == '\\' || character.is_control()) {
        return Err("the request's target contains a backslash or a control character");
    }
    for part in decoded.split('/') {
        // Some servers ignore parameters after `;`, or decode before they look for the query.
        let name = part.split([';', '?', '#']).next().unwrap_or_default();
        if part.is_empty() {
            return Err("the request's target contains an empty segment");
        }
        if matches!(name.trim(), "." | "..") {
            return Err("the request's target contains a hidden dot segment");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(target: &str) -> Result<String, &'static str> {
        let mut uri: Uri = target.parse().unwrap();
        normalize(&mut uri)?;
        Ok(uri.to_string())
    }

    #[test]
    fn ordinary_targets_are_unchanged() {
        for target in [
            "/",
            "/?a=../..",
            "/v1/messages?beta=true",
            "/v1/",
            "/.well-known/x",
            "/v1/a..b/...",
            "/v1beta/models/gemini-2.0-flash:generateContent?alt=sse",
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.model/invoke",
            "/caf%C3%A9/100%25/%zz",
            "/a;b=c/d",
        ] {
            assert_eq!(normalized(target).as_deref(), Ok(target));
        }
    }

    #[test]
    fn dot_segments_that_stay_are_resolved() {
        for (target, resolved) in [
            ("/v1/./models", "/v1/models"),
            ("/v1/x/../models?a=/../", "/v1/models?a=/../"),
            ("/v1/%2e/models", "/v1/models"),
            ("/v1/x/%2E./models", "/v1/models"),
            ("/.", "/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("http://localhost/a/../b", "http://localhost/b"),
        ] {
            assert_eq!(normalized(target).as_deref(), Ok(resolved), "{target}");
        }
    }

    #[test]
    fn a_target_that_any_server_could_read_as_leaving_is_rejected() {
        for target in [
            "/..",
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/.%2E/x",
            "/%252e%252e/x",
            "/%25252e%25252e%25252fx",
            "/%2525252525252e/x",
            "/a%2f..%2f..%2fx",
            "/a/..%2fx",
            "/..%5cx",
            r"/..\x",
            r"/a\b",
            "/a%5Cb",
            "//x",
            "//evil.example/x",
            "/a//b",
            "/a//../../x",
            "/%2fevil.example",
            "/a%2F%2Fb",
            "/a%2f",
            "/..;/x",
            "/a/..;b=c/x",
            "/%2e%2e%3b/x",
            "/..%3fx",
            "/a/..%23/x",
            "/..%20/x",
            "/..%00/x",
            "/a%0d%0ab",
            "/%c0%ae%c0%ae/x",
            "/a%c0%afb",
            "http://localhost//x",
            "*",
            "elsewhere:443",
        ] {
            assert!(normalized(target).is_err(), "{target}");
        }
    }
}
