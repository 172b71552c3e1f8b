//! Environment variables.

use secrecy::SecretString;

use crate::bad_input::{BadInput, bad};

/// The value of a variable, or `None` if it is not set.
pub fn variable(name: &str) -> Result<Option<SecretString>, BadInput> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value.into())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bad(format!("{name} is not valid UTF-8")),
    }
}
