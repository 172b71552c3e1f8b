//! Reads the start of a response body, decodes it, and finds keys in it.

mod decode;
mod inspection;
mod json_escape;
mod redaction;

pub(crate) use self::inspection::{Inspection, ReadLimit};
pub(crate) use self::redaction::{Forms, redact_headers};
