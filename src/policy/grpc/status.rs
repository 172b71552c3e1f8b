//! `google.rpc.Status` and its details: the parts of `status.proto` and `error_details.proto` that
//! are read or written. Unused texts are bytes, because they may not be UTF-8.

use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) message: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
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
    pub(super) fn retry_info(wait: Duration) -> Self {
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

    /// This detail as JSON, if it is of a known type and can be read.
    pub(super) fn to_json(&self) -> Option<Value> {
        let kind = self.type_url.rsplit('/').next()?;
        let detail = match kind {
            "google.rpc.ErrorInfo" => {
                let info = ErrorInfo::decode(&self.value[..]).ok()?;
                json!({ "@type": kind, "reason": info.reason })
            }
            "google.rpc.RetryInfo" => {
                let Delay { seconds, nanos } =
                    RetryInfo::decode(&self.value[..]).ok()?.retry_delay?;
                // Either both are negative or none.
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
