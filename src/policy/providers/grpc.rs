//! gRPC, whose status stands in metadata, with the details of a `google.rpc.Status` beside it.
//!
//! That is the same error that Google's HTTP services give as JSON. It is read as that one, so that
//! what tells a dead key or a wait stands in one place.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use prost::Message;
use serde_json::{Value, json};

use super::answer::Answer;
use super::credentials::decoded;
use super::dialect::{Carrier, Dialect, Finding, Protocol};
use super::exhausted::millis;
use super::provider::policy;
use super::{google, openai};
use crate::binary;
use crate::pool::{Exhausted, ExhaustedKind};

const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";
const DETAILS: &str = "grpc-status-details-bin";
const PUSHBACK: &str = "grpc-retry-pushback-ms";

policy! {
    /// Any gRPC service: metadata `authorization: Bearer <key>`, or another
    /// [`header`](Self::header).
    ///
    /// What the status says counts, wherever it stands: in a head without messages, or in trailers
    /// that are already there when the head is. Trailers are not waited for, since a client may
    /// have to hear the head before it speaks; see
    /// [`wait_for_first_frame`](Self::wait_for_first_frame).
    ///
    /// | Status | The key |
    /// |---|---|
    /// | 16 `UNAUTHENTICATED` | is out for good |
    /// | 7 `PERMISSION_DENIED` | is kept; out for good where the details say that it, or what stands behind it, is dead |
    /// | 3 `INVALID_ARGUMENT` | is out for good where the details say `API_KEY_INVALID` or `API_KEY_EXPIRED`; else forwarded |
    /// | 8 `RESOURCE_EXHAUSTED` | is out for the time in `grpc-retry-pushback-ms` or `RetryInfo`; a pushback that forbids to try again is forwarded |
    /// | any other | is untouched: forwarded |
    ///
    /// An answer without one goes by its HTTP status, as from any other provider.
    /// [`on_unauthorized`](Self::on_unauthorized) is about 16 and 401,
    /// [`on_forbidden`](Self::on_forbidden) about 7 and 403.
    ///
    /// When no key is left the caller is told 8 with the wait, or 13 `INTERNAL` where none will
    /// return: never 16, on which clients renew *their* credential.
    Grpc,
    DIALECT
}

const DIALECT: Dialect = Dialect {
    name: "grpc",
    protocol: Protocol::Grpc,
    accepts: &["authorization"],
    removes: &["x-goog-user-project"],
    removes_items: &[],
    inspects: &[],
    finding,
    ..openai::DIALECT
};

impl Grpc {
    /// Sends the key alone, in the metadata of this name: `x-goog-api-key`, say.
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
    pub fn header(self, name: HeaderName) -> Self {
        static RAW: Dialect = Dialect {
            // The name in force is the provider's own.
            carrier: Carrier::Header("x-api-key"),
            ..DIALECT
        };
        Self(self.0.with_header(&RAW, name))
    }

    /// Waits so long, after a head without a status, for the first message or the trailers. Default:
    /// not at all.
    ///
    /// Some servers send the head of a call and then refuse it in the trailers. Only for services
    /// that are known to be unary, or to answer all they will without hearing more of the caller: a
    /// client of a bidirectional stream waits for the head before it speaks, and the head would wait
    /// for the client.
    #[must_use]
    pub fn wait_for_first_frame(self, time: Duration) -> Self {
        Self(self.0.with_peek_timeout(time))
    }
}

/// Whether a status is still to come, after the messages.
pub(super) fn has_trailers(head: &response::Parts) -> bool {
    const GRPC: &[u8] = b"application/grpc";

    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let start = kind.and_then(|kind| kind.get(..GRPC.len()));
    head.status == StatusCode::OK && start.is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

/// The answer whose status stands in `metadata`, in terms of HTTP and of Google's JSON. `None` if
/// there is none.
pub(super) fn answer<'a>(head: &'a response::Parts, metadata: &'a HeaderMap) -> Option<Answer<'a>> {
    let code = metadata.get(GRPC_STATUS)?.to_str().unwrap_or("");
    let status = match code.trim().parse() {
        Ok(3) => StatusCode::BAD_REQUEST,
        Ok(7) => StatusCode::FORBIDDEN,
        Ok(8) => StatusCode::TOO_MANY_REQUESTS,
        Ok(16) => StatusCode::UNAUTHORIZED,
        // Nothing that a key could be blamed for. What is no number is `UNKNOWN`.
        Ok(_) | Err(_) => StatusCode::OK,
    };
    Some(Answer::of_metadata(head, metadata, status, error(metadata)))
}

/// What the details of an answer say beyond its status.
fn finding(answer: &Answer<'_>) -> Option<Finding> {
    if answer.status() == StatusCode::TOO_MANY_REQUESTS {
        if let Some(pushback) = answer.headers().get(PUSHBACK) {
            let millis = pushback.to_str().ok().map(|text| text.trim().parse());
            match millis {
                // As soon as one likes, which says nothing about the key.
                Some(Ok(0)) => {}
                Some(Ok(millis @ 1..=i32::MAX)) => {
                    let wait = Duration::from_millis(u64::from(millis.unsigned_abs()));
                    return Some(Finding::RateLimited(Some(wait)));
                }
                // By the protocol: do not try again.
                _ => return Some(Finding::NotTheKey),
            }
        }
    }
    google::finding(answer)
}

/// The error as JSON. Details that cannot be read say nothing.
fn error(metadata: &HeaderMap) -> Value {
    let message = metadata.get(GRPC_MESSAGE).map(HeaderValue::as_bytes);
    let message: Vec<u8> = decoded(message.unwrap_or_default()).collect();
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

/// The answer when no key is left: a head alone, as for every call that fails before it began.
pub(super) fn exhausted(exhausted: &Exhausted) -> Response<Bytes> {
    let mut status = Status {
        code: match exhausted.kind {
            ExhaustedKind::RateLimited => 8,
            ExhaustedKind::Permanent => 13,
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
        (ExhaustedKind::Permanent, _) => {
            headers.insert(PUSHBACK, HeaderValue::from_static("-1"));
        }
    }
    response
}

/// Percent-encoded as gRPC has it: what is not printable ASCII, and the `%` itself.
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

// Of google/rpc/status.proto and error_details.proto, what is read or written here. Texts that are
// not looked at are bytes: they need not be UTF-8.

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(bytes = "vec", tag = "2")]
    message: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct QuotaFailure {
    #[prost(message, repeated, tag = "1")]
    violations: Vec<Violation>,
}

#[derive(Clone, PartialEq, Message)]
struct Violation {
    #[prost(string, tag = "5")]
    quota_id: String,
}

impl Any {
    fn retry_info(wait: Duration) -> Self {
        let delay = Delay {
            seconds: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            // Below 1e9.
            nanos: wait.subsec_nanos() as i32,
        };
        let info = RetryInfo {
            retry_delay: Some(delay),
        };
        Self {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        }
    }

    /// This detail as JSON, if it is one that tells anything and can be read.
    fn to_json(&self) -> Option<Value> {
        let kind = self.type_url.rsplit('/').next()?;
        let detail = match kind {
            "google.rpc.ErrorInfo" => {
                let info = ErrorInfo::decode(&self.value[..]).ok()?;
                json!({ "@type": kind, "reason": info.reason })
            }
            "google.rpc.RetryInfo" => {
                let Delay { seconds, nanos } =
                    RetryInfo::decode(&self.value[..]).ok()?.retry_delay?;
                // Both are negative where one is.
                let delay = Duration::new(seconds.try_into().ok()?, nanos.try_into().ok()?);
                let (seconds, nanos) = (delay.as_secs(), delay.subsec_nanos());
                json!({ "@type": kind, "retryDelay": format!("{seconds}.{nanos:09}s") })
            }
            "google.rpc.QuotaFailure" => {
                let failure = QuotaFailure::decode(&self.value[..]).ok()?;
                let ids = failure.violations.iter();
                let violations: Vec<_> = ids.map(|it| json!({ "quotaId": it.quota_id })).collect();
                json!({ "@type": kind, "violations": violations })
            }
            _ => return None,
        };
        Some(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_percent_encoded_and_decoded() {
        let text = "50% of a\nlimit: é~";
        let encoded = percent_encoded(text.as_bytes());
        assert_eq!(encoded, "50%25 of a%0Alimit: %C3%A9~");
        let decoded: Vec<_> = decoded(encoded.as_bytes()).collect();
        assert_eq!(String::from_utf8(decoded).unwrap(), text);
    }
}
