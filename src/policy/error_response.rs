//! An upstream's error response, as the built-in policies read it.

use http::header::DATE;
use http::{HeaderMap, StatusCode, response};
use jiff::Timestamp;
use serde_json::Value;

use super::waits::http_date;
use super::{BodyEvidence, edge};
use crate::sse;

/// The head, and the body where there is one and it is JSON.
#[derive(Debug)]
pub(super) struct ErrorResponse<'a> {
    head: &'a response::Parts,
    // The head's, or gRPC's trailers.
    headers: &'a HeaderMap,
    status: StatusCode,
    json: Value,
    is_from_edge: bool,
    is_conclusive: bool,
}

impl<'a> ErrorResponse<'a> {
    /// A response whose body is not known.
    pub(super) fn of_head(head: &'a response::Parts) -> Self {
        Self {
            head,
            headers: &head.headers,
            status: head.status,
            json: Value::Null,
            is_from_edge: edge::is_html_type(&head.headers),
            is_conclusive: true,
        }
    }

    pub(super) fn new(head: &'a response::Parts, body: &BodyEvidence<'_>) -> Self {
        let bytes = body.readable();
        let json = json(bytes);
        let of_head = Self::of_head(head);
        Self {
            is_from_edge: of_head.is_from_edge || edge::wrote(&head.headers, bytes, &json),
            is_conclusive: matches!(body, BodyEvidence::Complete { .. }),
            json,
            ..of_head
        }
    }

    /// The first event of a stream with a successful head.
    pub(super) fn of_first_event(head: &'a response::Parts, body: &BodyEvidence<'_>) -> Self {
        let data = sse::first_data(body.readable()).unwrap_or_default();
        Self {
            json: serde_json::from_slice(&data).unwrap_or_default(),
            ..Self::of_head(head)
        }
    }

    /// A gRPC response. Its metadata contains the status and the error, translated to HTTP and
    /// JSON.
    #[cfg(feature = "grpc")]
    pub(super) fn of_metadata(
        head: &'a response::Parts,
        metadata: &'a HeaderMap,
        status: StatusCode,
        json: Value,
    ) -> Self {
        Self {
            headers: metadata,
            status,
            json,
            ..Self::of_head(head)
        }
    }

    /// The same response with the status that it represents.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.headers
    }

    pub(super) fn header(&self, name: &str) -> &str {
        text(self.headers, name)
    }

    /// Whether it was sent by an edge in front of the provider, which never checked the key.
    pub(super) fn is_from_edge(&self) -> bool {
        self.is_from_edge
    }

    /// Whether everything there is to know is known. `false` for incomplete and unreadable bodies.
    pub(super) fn is_conclusive(&self) -> bool {
        self.is_conclusive
    }

    /// The value at a JSON pointer, or `null`.
    pub(super) fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The string at a JSON pointer. Empty if there is none.
    pub(super) fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or("")
    }

    /// The elements of the array at a JSON pointer.
    pub(super) fn each(&self, pointer: &str) -> &[Value] {
        self.at(pointer).as_array().map_or(&[], Vec::as_slice)
    }

    /// The error's message for people, wherever the provider puts it.
    pub(super) fn message(&self) -> &str {
        [
            "/error/message",
            "/message",
            "/Message",
            "/error",
            "/detail",
        ]
        .into_iter()
        .map(|pointer| self.text(pointer))
        .find(|text| !text.is_empty())
        .unwrap_or("")
    }

    /// Whether the message contains one of these phrases, given in lower case.
    ///
    /// Use this only where no structured field tells, and never for words that also occur in the
    /// opposite case.
    pub(super) fn says(&self, phrases: &[&str]) -> bool {
        let message = self.message().to_ascii_lowercase();
        phrases.iter().any(|phrase| message.contains(phrase))
    }

    /// When the response was made. Absolute times are compared with the response's own `Date`, so
    /// that clock skew does not matter. Without a `Date` this is the local time.
    pub(super) fn now(&self) -> Timestamp {
        let date = text(&self.head.headers, DATE.as_str());
        http_date::parse(date).unwrap_or_else(Timestamp::now)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
        .trim()
}

/// The body's JSON. A body that does not parse is no evidence. The parser is linear and gives up
/// at 128 levels.
fn json(body: &[u8]) -> Value {
    match serde_json::from_slice(body) {
        // Gemini wraps a stream's error in an array of one.
        Ok(Value::Array(items)) => items.into_iter().next().unwrap_or_default(),
        Ok(json) => json,
        Err(_) => Value::Null,
    }
}
