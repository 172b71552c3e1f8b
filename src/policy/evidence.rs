use std::fmt;

use http::HeaderMap;

/// What was read of an answer's body.
///
/// The bytes are decoded: a gzip, deflate, br or zstd body is shown as what it holds, at most
/// 64 KiB of it.
///
/// `Debug` shows how much that is, and nothing of it: a refusal may say the key back.
#[derive(Clone, Copy)]
pub struct BodyEvidence<'a> {
    // `None`: an encoding that cannot be undone.
    bytes: Option<&'a [u8]>,
    complete: bool,
    trailers: Option<&'a HeaderMap>,
}

impl<'a> BodyEvidence<'a> {
    /// A body that was read to its end and had no trailers.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes: Some(bytes),
            complete: true,
            trailers: None,
        }
    }

    /// A body whose content encoding could not be undone.
    pub const fn undecodable() -> Self {
        Self {
            bytes: None,
            complete: true,
            trailers: None,
        }
    }

    /// The same evidence of a body that was not read to its end.
    #[must_use]
    pub const fn truncated(mut self) -> Self {
        self.complete = false;
        self
    }

    /// The same evidence with the trailers that ended the body.
    #[must_use]
    pub const fn with_trailers(mut self, trailers: &'a HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self
    }

    /// What was read, decoded. Empty where it could not be decoded.
    pub const fn bytes(&self) -> &'a [u8] {
        match self.bytes {
            Some(bytes) => bytes,
            None => &[],
        }
    }

    /// Whether the content encoding could be undone, or there was none.
    pub const fn is_decodable(&self) -> bool {
        self.bytes.is_some()
    }

    /// Whether the body was read to its end.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The trailers, where the body ended with some.
    pub const fn trailers(&self) -> Option<&'a HeaderMap> {
        self.trailers
    }
}

impl fmt::Debug for BodyEvidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyEvidence")
            .field("bytes", &self.bytes.map(<[u8]>::len))
            .field("complete", &self.complete)
            .field("trailers", &self.trailers.map(HeaderMap::len))
            .finish()
    }
}
