//! gRPC, whose status is in metadata, together with the details of a `google.rpc.Status`.
//!
//! Google's HTTP services return the same error as JSON. It is translated to that JSON, so that the
//! rules for dead keys and waits exist once.

mod status;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, request, response};
use prost::Message;
use serde_json::{Value, json};

use self::status::{Any, Status};
use super::byok::Byok;
use super::credentials::{Credentials, Places, percent_decoded};
use super::dialect::{Finding, Reach};
use super::error_response::ErrorResponse;
use super::exhausted_response::millis;
use super::judge::{self, Judge};
use super::providers::google;
use super::{BodyEvidence, ProviderPolicy, ReadLimit, Success, Verdict};
use crate::binary;
use crate::pool::{Exhausted, ExhaustedKind, Key, KeyChoice, Scope};

const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";
const DETAILS: &str = "grpc-status-details-bin";
const PUSHBACK: &str = "grpc-retry-pushback-ms";

const PLACES: Places = Places {
    accepts: &["authorization"],
    removes: &["x-goog-user-project"],
    ..Places::BEARER
};

/// Any gRPC service: metadata `authorization: Bearer <key>`, or another
/// [`header`](Self::header).
///
/// The gRPC status decides. The policy finds it in a head without messages, and in trailers that
/// arrive together with the head. By default, it does not wait for trailers, because a client may
/// need the head before it sends more. See [`wait_for_first_frame`](Self::wait_for_first_frame).
///
/// | Status | The key |
/// |---|---|
/// | 16 `UNAUTHENTICATED` | is permanently marked; only [suspected](crate::guides::recovery#suspicion) if a request has succeeded with it since it was added or returned |
/// | 7 `PERMISSION_DENIED` | is unchanged, or permanently marked if the details say that the key or its project is dead; the request is sent again |
/// | 3 `INVALID_ARGUMENT` | is permanently marked if the details say `API_KEY_INVALID` or `API_KEY_EXPIRED`, otherwise the response is forwarded |
/// | 8 `RESOURCE_EXHAUSTED` | cools down for the time in `grpc-retry-pushback-ms` or `RetryInfo`; if `grpc-retry-pushback-ms` forbids a retry, the response is forwarded |
/// | any other | is unchanged: the response is forwarded |
///
/// If a response has no gRPC status, its HTTP status decides, as with any other provider.
/// [`on_unauthorized`](Self::on_unauthorized) applies to 16 and 401,
/// [`on_forbidden`](Self::on_forbidden) to 7 and 403.
///
/// If no key is left, the caller receives 8 with the wait, or 13 `INTERNAL` if no key will return by
/// itself. It does not receive 16, because clients react to it by renewing their own credential.
///
/// ```
/// use http::Response;
/// use tower_key_failover::policy::{Grpc, Mark, ProviderPolicy, Verdict};
///
/// let policy = Grpc::new().on_unauthorized(Verdict::Failover(Mark::temporary(None)));
/// let (head, ()) = Response::builder()
///     .header("content-type", "application/grpc")
///     .header("grpc-status", "0")
///     .body(())
///     .unwrap()
///     .into_parts();
/// assert_eq!(policy.classify(&head), Verdict::Forward);
/// ```
#[derive(Clone)]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
pub struct Grpc {
    credentials: Credentials,
    byok: Byok,
    judge: Judge,
    first_frame: Duration,
}

impl Grpc {
    /// Creates the policy with default settings.
    pub fn new() -> Self {
        Self {
            credentials: Credentials::new(&PLACES),
            byok: Byok::Detect,
            judge: Judge::default(),
            first_frame: Duration::ZERO,
        }
    }

    /// Sends the key alone, in the metadata of this name, such as `x-goog-api-key`.
    ///
    /// ```
    /// use http::{HeaderName, Request};
    /// use tower_key_failover::KeyPool;
    /// use tower_key_failover::policy::{Grpc, ProviderPolicy};
    ///
    /// # fn main() -> Result<(), tower_key_failover::pool::BuildError> {
    /// let policy = Grpc::new().header(HeaderName::from_static("x-goog-api-key"));
    /// let key = KeyPool::new(["first-key"])?.walker().next_key().unwrap();
    ///
    /// let mut request = Request::new(()).into_parts().0;
    /// policy.inject_key(&mut request, &key);
    /// assert_eq!(request.headers["x-goog-api-key"], "first-key");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.credentials = Credentials::in_header(&PLACES, name);
        self
    }

    /// Sets how long to wait, after a head without a status, for the first message or the trailers.
    /// Default: not at all.
    ///
    /// Some servers send the head of a call and then refuse it in the trailers. Use this only for
    /// services that are known to be unary, or to respond without further messages from the
    /// caller. The client of a bidirectional stream waits for the head before it sends more, so
    /// both sides would wait for each other.
    #[must_use]
    pub fn wait_for_first_frame(mut self, time: Duration) -> Self {
        self.first_frame = time;
        self
    }

    /// Sets what 16 `UNAUTHENTICATED` and 401 mean. Default: the key is permanently marked.
    ///
    /// If a request has succeeded with the key since it was added or returned, the layer changes the
    /// permanent mark to a [suspicion](crate::guides::recovery#suspicion).
    ///
    /// [`Verdict::Read`] counts as [`Verdict::Forward`].
    #[must_use]
    pub fn on_unauthorized(mut self, verdict: Verdict) -> Self {
        self.judge.on_unauthorized = Some(verdict.or_forward());
        self
    }

    /// Sets what 7 `PERMISSION_DENIED` and 403 mean, unless the response explains itself. Default:
    /// a 7 leaves the key unchanged, and a 403 makes it suspected.
    ///
    /// [`Verdict::Read`] counts as [`Verdict::Forward`].
    #[must_use]
    pub fn on_forbidden(mut self, verdict: Verdict) -> Self {
        self.judge.on_forbidden = Some(verdict.or_forward());
        self
    }

    /// Sets how long a key cools down after its quota is used up, if the response names no reset.
    /// Default: one hour.
    #[must_use]
    pub fn quota_cooldown(mut self, cooldown: Duration) -> Self {
        self.judge.quota_cooldown = cooldown;
        self
    }

    /// Sets which requests bring their own credential. Default: [`Byok::Detect`].
    #[must_use]
    pub fn byok(mut self, byok: Byok) -> Self {
        self.byok = byok;
        self
    }

    fn verdict(&self, response: &ErrorResponse<'_>) -> Verdict {
        let verdict = match finding(response) {
            // The status alone does not say whether the key is dead.
            None if response.status() == StatusCode::FORBIDDEN => {
                self.judge.on_forbidden.unwrap_or(judge::KEEP)
            }
            finding => self.judge.verdict(response, finding),
        };
        judge::with_reason_of(response.status(), verdict)
    }

    /// The verdict on a response without a gRPC status.
    fn verdict_on_http(&self, response: &ErrorResponse<'_>) -> Verdict {
        // From an edge in front of the service, which never saw the key.
        let is_edge = response.status() == StatusCode::FORBIDDEN && response.is_from_edge();
        let finding = is_edge.then_some(Finding::NotTheKey);
        self.judge.verdict(response, finding)
    }
}

impl Default for Grpc {
    fn default() -> Self {
        Self::new()
    }
}

impl ProviderPolicy for Grpc {
    fn is_byok(&self, request: &request::Parts) -> bool {
        self.byok.applies(self.credentials.presented(request))
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        self.credentials.inject(request, key);
    }

    fn scope(&self, request: &request::Parts) -> Option<Scope> {
        KeyChoice::of(request)?.scope_ref().cloned()
    }

    fn classify(&self, head: &response::Parts) -> Verdict {
        match response(head, &head.headers) {
            Some(response) => self.verdict(&response),
            None if has_trailers(head) => Verdict::Read(ReadLimit::first_frame(self.first_frame)),
            None => {
                let response = ErrorResponse::of_head(head);
                // It may be forwarded, unless an edge sent it.
                let is_forbidden = head.status == StatusCode::FORBIDDEN;
                if is_forbidden && !response.is_from_edge() {
                    Verdict::Read(ReadLimit::refusal())
                } else {
                    self.verdict_on_http(&response)
                }
            }
        }
    }

    fn classify_body(&self, head: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        if head.status == StatusCode::FORBIDDEN {
            return self.verdict_on_http(&ErrorResponse::new(head, body));
        }
        let response = body.trailers().and_then(|it| response(head, it));
        response.map_or(Verdict::Forward, |it| self.verdict(&it))
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        exhausted_response(exhausted)
    }

    fn success(&self, head: &response::Parts) -> Success {
        match head.headers.get(GRPC_STATUS) {
            Some(code) if code == "0" => Success::Yes,
            None if has_trailers(head) => Success::Trailers,
            _ => Success::No,
        }
    }

    fn success_in_body(&self, _: &response::Parts, body: &BodyEvidence<'_>) -> bool {
        let code = body.trailers().and_then(|it| it.get(GRPC_STATUS));
        code.is_some_and(|code| code == "0")
    }
}

impl fmt::Debug for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grpc")
            .field("header", self.credentials.header())
            .field("byok", &self.byok)
            .field("on_unauthorized", &self.judge.on_unauthorized)
            .field("on_forbidden", &self.judge.on_forbidden)
            .field("quota_cooldown", &self.judge.quota_cooldown)
            .field("first_frame", &self.first_frame)
            .finish()
    }
}

/// Whether a status follows in the trailers, after the messages.
fn has_trailers(head: &response::Parts) -> bool {
    const GRPC: &[u8] = b"application/grpc";

    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let start = kind.and_then(|kind| kind.get(..GRPC.len()));
    head.status == StatusCode::OK && start.is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

/// The response whose status is in `metadata`, translated to HTTP and Google's JSON. `None` without
/// a status.
fn response<'a>(head: &'a response::Parts, metadata: &'a HeaderMap) -> Option<ErrorResponse<'a>> {
    let code = metadata.get(GRPC_STATUS)?.to_str().unwrap_or("");
    let status = match code.trim().parse() {
        Ok(3) => StatusCode::BAD_REQUEST,
        Ok(7) => StatusCode::FORBIDDEN,
        Ok(8) => StatusCode::TOO_MANY_REQUESTS,
        Ok(16) => StatusCode::UNAUTHORIZED,
        // The key cannot be the cause. A value that is not a number means `UNKNOWN`.
        Ok(_) | Err(_) => StatusCode::OK,
    };
    Some(ErrorResponse::of_metadata(
        head,
        metadata,
        status,
        error(metadata),
    ))
}

/// What the details of a response say beyond its status.
fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    if response.status() == StatusCode::TOO_MANY_REQUESTS
        && let Some(pushback) = response.headers().get(PUSHBACK)
    {
        let millis = pushback.to_str().ok().map(|text| text.trim().parse());
        match millis {
            // Retry at once: the key is not the cause.
            Some(Ok(0)) => {}
            Some(Ok(millis @ 1..=i32::MAX)) => {
                let wait = Duration::from_millis(u64::from(millis.unsigned_abs()));
                return Some(Finding::RateLimited(Reach::Scope, Some(wait)));
            }
            // The protocol defines this as: do not retry.
            _ => return Some(Finding::NotTheKey),
        }
    }
    google::finding(response)
}

/// The error as JSON. Unreadable details are ignored.
fn error(metadata: &HeaderMap) -> Value {
    let message = metadata.get(GRPC_MESSAGE).map(HeaderValue::as_bytes);
    let message: Vec<u8> = percent_decoded(message.unwrap_or_default()).collect();
    let details: Vec<_> = details(metadata)
        .unwrap_or_default()
        .iter()
        .filter_map(Any::to_json)
        .collect();
    json!({ "error": { "message": String::from_utf8_lossy(&message), "details": details } })
}

fn details(metadata: &HeaderMap) -> Option<Vec<Any>> {
    let status = binary::decode_each(metadata.get(DETAILS)?.as_bytes()).next()??;
    Some(Status::decode(&status[..]).ok()?.details)
}

/// The response when no key is left. It has no trailers, like every call that fails before it starts.
fn exhausted_response(exhausted: &Exhausted) -> Response<Bytes> {
    let mut status = Status {
        code: match exhausted.kind {
            ExhaustedKind::RateLimited => 8,
            ExhaustedKind::Permanent | ExhaustedKind::Disabled | ExhaustedKind::UnknownPin => 13,
        },
        message: exhausted.to_string().into_bytes(),
        details: Vec::new(),
    };
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, status.code.into());
    headers.insert(GRPC_MESSAGE, percent_encoded(&status.message));
    let wait = exhausted.retry_after.filter(|wait| !wait.is_zero());
    match (exhausted.kind, wait) {
        (ExhaustedKind::RateLimited, Some(wait)) => {
            let millis = i32::try_from(millis(wait)).unwrap_or(i32::MAX);
            headers.insert(PUSHBACK, millis.into());
            status.details.push(Any::retry_info(wait));
            let status = binary::encode(&status.encode_to_vec());
            let status = status.try_into().expect("base64 is a legal value");
            headers.insert(DETAILS, status);
        }
        (ExhaustedKind::RateLimited, None) => {}
        (ExhaustedKind::Permanent | ExhaustedKind::Disabled | ExhaustedKind::UnknownPin, _) => {
            headers.insert(PUSHBACK, HeaderValue::from_static("-1"));
        }
    }
    response
}

/// Percent-encodes everything but printable ASCII, and the `%` itself, as gRPC requires.
fn percent_encoded(text: &[u8]) -> HeaderValue {
    let mut encoded = String::new();
    for &byte in text {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
        .try_into()
        .expect("printable ASCII is a legal value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_percent_encoded_and_decoded() {
        let text = "50% of a\nlimit: é~";
        let encoded = percent_encoded(text.as_bytes());
        assert_eq!(encoded, "50%25 of a%0Alimit: %C3%A9~");
        let decoded: Vec<_> = percent_decoded(encoded.as_bytes()).collect();
        assert_eq!(String::from_utf8(decoded).unwrap(), text);
    }
}
