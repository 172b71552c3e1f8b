use std::fmt;

use http::HeaderMap;

/// What was read of a response body, decoded from gzip, deflate, br or zstd.
///
/// `Debug` shows lengths and no content, because a refusal may contain the key.
///
/// ```
/// use tower_key_failover::policy::BodyEvidence;
///
/// fn says_so(body: &BodyEvidence<'_>) -> bool {
///     match body {
///         BodyEvidence::Complete { bytes, .. } => bytes.starts_with(b"quota exceeded"),
///         // An incomplete body proves nothing.
///         _ => false,
///     }
/// }
///
/// assert!(says_so(&BodyEvidence::complete(b"quota exceeded")));
/// assert!(!says_so(&BodyEvidence::partial(b"quota exceeded")));
/// assert!(!says_so(&BodyEvidence::unreadable()));
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum BodyEvidence<'a> {
    /// The whole body.
    #[non_exhaustive]
    Complete {
        /// The content.
        bytes: &'a [u8],
        /// The trailers, if the body ended with some.
        trailers: Option<&'a HeaderMap>,
    },
    /// The start of a body. The rest stalled, broke off or exceeds the
    /// [`ReadLimit`](super::ReadLimit), or the limit asked for no more.
    #[non_exhaustive]
    Partial {
        /// The start of the content, which may be empty.
        bytes: &'a [u8],
        /// The trailers, if the body ended with some.
        trailers: Option<&'a HeaderMap>,
    },
    /// A body that cannot be decoded.
    ///
    /// Without the feature `decompress`, this is every encoded body.
    #[non_exhaustive]
    Unreadable {
        /// The trailers, if the body ended with some.
        trailers: Option<&'a HeaderMap>,
    },
}

impl<'a> BodyEvidence<'a> {
    /// A complete body without trailers.
    pub const fn complete(bytes: &'a [u8]) -> Self {
        let trailers = None;
        Self::Complete { bytes, trailers }
    }

    /// The start of a body.
    pub const fn partial(bytes: &'a [u8]) -> Self {
        let trailers = None;
        Self::Partial { bytes, trailers }
    }

    /// A body that cannot be decoded.
    pub const fn unreadable() -> Self {
        Self::Unreadable { trailers: None }
    }

    /// The same evidence with the trailers that ended the body.
    #[must_use]
    pub const fn with_trailers(self, trailers: &'a HeaderMap) -> Self {
        let trailers = Some(trailers);
        match self {
            Self::Complete { bytes, .. } => Self::Complete { bytes, trailers },
            Self::Partial { bytes, .. } => Self::Partial { bytes, trailers },
            Self::Unreadable { .. } => Self::Unreadable { trailers },
        }
    }

    /// The trailers, if the body ended with some.
    pub const fn trailers(&self) -> Option<&'a HeaderMap> {
        match self {
            Self::Complete { trailers, .. }
            | Self::Partial { trailers, .. }
            | Self::Unreadable { trailers } => *trailers,
        }
    }

    /// What could be read, complete or not.
    #[cfg(feature = "providers")]
    pub(super) const fn readable(&self) -> &'a [u8] {
        match self {
            Self::Complete { bytes, .. } | Self::Partial { bytes, .. } => bytes,
            Self::Unreadable { .. } => &[],
        }
    }
}

impl fmt::Debug for BodyEvidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, bytes) = match self {
            Self::Complete { bytes, .. } => ("Complete", Some(bytes.len())),
            Self::Partial { bytes, .. } => ("Partial", Some(bytes.len())),
            Self::Unreadable { .. } => ("Unreadable", None),
        };
        f.debug_struct(name)
            .field("bytes", &bytes)
            .field("trailers", &self.trailers().map(HeaderMap::len))
            .finish()
    }
}
