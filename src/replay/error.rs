use std::error::Error;
use std::fmt;

use crate::BoxError;

/// Why a [`RequestBody`](crate::RequestBody) failed: another attempt took its place, or the caller's body failed.
pub struct RequestBodyError {
    kind: ErrorKind,
}

enum ErrorKind {
    Superseded,
    /// The caller's body failed. `None` where an earlier attempt was told the error itself.
    Source(Option<BoxError>),
    Lost,
}

impl RequestBodyError {
    pub(crate) fn superseded() -> Self {
        Self {
            kind: ErrorKind::Superseded,
        }
    }

    pub(crate) fn source(error: Option<BoxError>) -> Self {
        Self {
            kind: ErrorKind::Source(error),
        }
    }

    pub(super) fn lost() -> Self {
        Self {
            kind: ErrorKind::Lost,
        }
    }

    /// Whether the body failed because a later attempt took its place. This is how a refused
    /// attempt's upload ends; it is no fault of anybody's, and no caller sees it.
    pub fn is_superseded(&self) -> bool {
        matches!(self.kind, ErrorKind::Superseded)
    }
}

impl fmt::Display for RequestBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            ErrorKind::Superseded => "the request is being sent again with another key",
            ErrorKind::Source(_) => "the caller's request body failed",
            ErrorKind::Lost => "the caller's request body panicked while an attempt read it",
        })
    }
}

impl fmt::Debug for RequestBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ErrorKind::Superseded => f.write_str("RequestBodyError(Superseded)"),
            ErrorKind::Source(error) => f.debug_tuple("RequestBodyError").field(error).finish(),
            ErrorKind::Lost => f.write_str("RequestBodyError(Lost)"),
        }
    }
}

impl Error for RequestBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            ErrorKind::Source(Some(error)) => Some(&**error),
            _ => None,
        }
    }
}
