//! A response as it looks on the wire. The format mutates well and can be written by hand:
//!
//! ```text
//! gemini 429
//! content-type: application/json
//!
//! {"error":{}}
//! ```
//!
//! Headers that begin with `trailer:` follow the body.

use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use tower_key_failover::policy::{Grpc, Provider, ProviderPolicy};

/// The names of the built-in policies, gRPC included. Sorted, so that the corpus keeps its meaning.
pub(crate) static PROVIDERS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut names: Vec<_> = Provider::names().chain(["grpc"]).collect();
    names.sort_unstable();
    names
});

pub(crate) struct WireResponse<'a> {
    pub(crate) provider: &'static str,
    pub(crate) policy: Arc<dyn ProviderPolicy>,
    pub(crate) head: response::Parts,
    pub(crate) body: &'a [u8],
    pub(crate) trailers: Option<HeaderMap>,
}

impl<'a> WireResponse<'a> {
    /// Accepts nearly anything and skips what does not parse.
    pub(crate) fn parse(mut text: &'a [u8]) -> Option<Self> {
        let first = line(&mut text)?;
        let mut words = first.split(|byte| *byte == b' ');
        let provider = provider(words.next()?)?;
        let status = words
            .next()
            .and_then(|it| StatusCode::from_bytes(it).ok())?;
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = status;
        let mut trailers = None;
        while let Some(field) = line(&mut text).filter(|field| !field.is_empty()) {
            let (map, field) = match field.strip_prefix(b"trailer:") {
                Some(field) => (trailers.get_or_insert_with(HeaderMap::new), field),
                None => (&mut head.headers, field),
            };
            if let Some((name, value)) = header(field) {
                map.append(name, value);
            }
        }
        Some(Self {
            provider,
            policy: policy(provider),
            head,
            body: text,
            trailers,
        })
    }
}

fn provider(name: &[u8]) -> Option<&'static str> {
    let named = PROVIDERS.iter().find(|it| it.as_bytes() == name);
    let at = usize::from(*name.first()?);
    Some(named.unwrap_or(&PROVIDERS[at % PROVIDERS.len()]))
}

fn policy(name: &str) -> Arc<dyn ProviderPolicy> {
    match name {
        "grpc" => Arc::new(Grpc::new()),
        _ => Arc::new(Provider::named(name).unwrap()),
    }
}

fn line<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    if text.is_empty() {
        return None;
    }
    let end = text.iter().position(|byte| *byte == b'\n');
    let (line, rest) = match end {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (*text, &[][..]),
    };
    *text = rest;
    Some(line)
}

fn header(field: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&field[..colon]).ok()?;
    let value = HeaderValue::from_bytes(field[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}
