//! Reads the start of a response body, decodes it, and finds keys in it.

mod decode;
mod inspection;
mod key_removal;

pub(crate) use self::inspection::Inspection;
pub(crate) use self::key_removal::remove_from_headers;
