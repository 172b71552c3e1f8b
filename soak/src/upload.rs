//! A request body that the upstream reads step by step.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tower_key_failover::BoxError;

use crate::ledger::Ledger;
use crate::payload::Checksum;

pub struct Upload {
    number: u64,
    /// According to the headers.
    pub length: u64,
    expected: String,
    checksum: Checksum,
    read: u64,
    body: Incoming,
}

impl Upload {
    pub fn new(number: u64, headers: &HeaderMap, body: Incoming) -> Result<Self, BoxError> {
        Ok(Self {
            number,
            length: text(headers, "x-soak-length").parse()?,
            expected: text(headers, "x-soak-checksum").to_owned(),
            checksum: Checksum::begin(number),
            read: 0,
            body,
        })
    }

    /// Reads this many bytes, and returns whether the body has ended.
    pub async fn read(&mut self, length: u64) -> Result<bool, BoxError> {
        while self.read < length {
            let Some(frame) = self.body.frame().await else {
                return Ok(true);
            };
            let frame = frame?;
            let data = frame.data_ref().map_or(&[][..], Bytes::as_ref);
            self.read += data.len() as u64;
            self.checksum.update(data);
        }
        Ok(self.body.is_end_stream())
    }

    /// Reads to the end, and records a complete body.
    pub async fn read_on(mut self, ledger: Arc<Ledger>) {
        if let Ok(true) = self.read(u64::MAX).await {
            self.arrived(&ledger);
        }
    }

    pub fn arrived(self, ledger: &Ledger) {
        ledger.uploaded(self.number, &self.expected, &self.checksum.finish());
    }
}

/// The text of a header, or an empty string.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}
