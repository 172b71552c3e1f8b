use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;

use super::X_KEY;

/// What an official SDK sends, but for the credential.
const HEADERS: [(&str, &str); 12] = [
    ("host", "gateway.internal:8080"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate"),
    ("anthropic-version", "2023-06-01"),
    ("connection", "keep-alive"),
    ("content-length", "256"),
    ("content-type", "application/json"),
    ("user-agent", "Anthropic/Python 0.60.0"),
    ("x-stainless-lang", "python"),
    ("x-stainless-os", "Linux"),
    ("x-stainless-retry-count", "0"),
    ("x-stainless-timeout", "600"),
];
const URI: &str = "https://api.anthropic.com/v1/messages";
const BODY: &[u8; 256] = &[b'x'; 256];

/// How a request came to be, which decides what a copy of it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// As a proxy has it: values that share one read buffer, and room in the header map.
    Shared,
    /// As an application builds it: each value owns its bytes, so that its first clone allocates,
    /// and the header map is as large as it has to be.
    Fresh,
}

impl Requests {
    pub const ALL: [Self; 2] = [Self::Shared, Self::Fresh];

    pub fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Fresh => "fresh",
        }
    }

    pub fn make(self) -> Request<Full<Bytes>> {
        self.with_body(Full::from(&BODY[..]))
    }

    pub fn with_key(self, key: &'static str) -> Request<Full<Bytes>> {
        let mut request = self.make();
        let key = HeaderValue::from_static(key);
        request.headers_mut().insert(X_KEY, key);
        request
    }

    pub fn with_body<B>(self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.headers_mut() = match self {
            Self::Shared => {
                static SHARED: LazyLock<(HeaderMap, Uri)> = LazyLock::new(|| {
                    let fresh = (headers(), URI.parse().unwrap());
                    // From their first clone on they share.
                    let _ = fresh.clone();
                    fresh
                });
                *request.uri_mut() = SHARED.1.clone();
                let mut headers = HeaderMap::with_capacity(24);
                headers.extend(SHARED.0.clone());
                headers
            }
            Self::Fresh => {
                *request.uri_mut() = URI.parse().unwrap();
                headers()
            }
        };
        request
    }
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}
