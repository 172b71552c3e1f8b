//! Errors in the configuration.

use std::io;

/// A configuration error, in one line.
pub struct BadInput(pub String);

impl From<io::Error> for BadInput {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

pub fn bad<T>(line: impl Into<String>) -> Result<T, BadInput> {
    Err(BadInput(line.into()))
}
