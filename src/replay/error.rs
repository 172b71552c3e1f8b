use std::error::Error;
use std::fmt;

use crate::BoxError;

/// Error of a [`RequestBody`](crate::RequestBody).
///
/// Either the caller's body failed, or another attempt superseded the body.
///
/// # Examples
///
/// A client can tell the two apart, for example to log only real failures:
///
/// ```
/// use tower_key_failover::RequestBodyError;
///
/// fn is_failure(error: &(dyn std::error::Error + 'static)) -> bool {
///     match error.downcast_ref::<RequestBodyError>() {
///         Some(error) => !error.is_superseded(),
///         None => true,
///     }
/// }
/// ```
pub struct RequestBodyError {
    kind: ErrorKind,
}

enum ErrorKind {
    Superseded,
    /// The caller's body failed. `None` if an earlier attempt got the error itself.
    Source(Option<BoxError>),
    /// The caller's body panicked.
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

    /// Returns whether the body failed because a later attempt superseded it.
    ///
    /// This is how the upload of a refused attempt ends. It is not a failure, and no caller gets it.
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
