//! A 401 does not permanently mark a key that works.
//!
//! If a request has succeeded with the key since it was added or returned to service, a permanent mark
//! by a 401 (HTTP's, or gRPC's `UNAUTHENTICATED`) becomes a suspicion.

use http::StatusCode;

use crate::policy::{Mark, MarkKind};
use crate::pool::{Key, Reason};

/// The mark of a refused attempt with `key`.
pub(super) fn weigh(mark: Mark, status: StatusCode, key: &Key) -> Mark {
    let is_permanent = mark.kind() == MarkKind::Permanent;
    if is_permanent && is_unauthorized(mark, status) && key.is_proven() {
        Mark::suspect().because(mark.reason(status))
    } else {
        mark
    }
}

/// Whether the provider did not accept the credential. gRPC says so under the HTTP status 200.
pub(super) fn is_unauthorized(mark: Mark, status: StatusCode) -> bool {
    status == StatusCode::UNAUTHORIZED
        || status == StatusCode::OK && mark.reason(status) == Reason::Unauthorized
}
