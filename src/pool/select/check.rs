//! Checks a new list of keys, before it replaces the current one.

use std::collections::HashMap;
use std::hash::Hash;

use crate::pool::error::BuildError;
use crate::pool::key_settings::KeySettings;
use crate::pool::secret::Secret;

/// Checks keys with these secrets and settings, in the pool's order.
pub(super) fn check<'a>(
    keys: impl ExactSizeIterator<Item = (&'a Secret, &'a KeySettings)> + Clone,
) -> Result<(), BuildError> {
    if keys.len() == 0 {
        return Err(BuildError::NoKeys);
    }
    for (position, (_, settings)) in keys.clone().enumerate() {
        settings.check(position)?;
    }
    let secrets = keys.clone().map(|(secret, _)| Some(secret.expose()));
    if let Some((first, position)) = duplicate(secrets) {
        return Err(BuildError::DuplicateKey { first, position });
    }
    let labels = keys.map(|(_, settings)| settings.label.as_deref());
    if let Some((first, position)) = duplicate(labels) {
        return Err(BuildError::DuplicateLabel { first, position });
    }
    Ok(())
}

/// The positions of the first two equal values.
fn duplicate<T: Eq + Hash>(values: impl Iterator<Item = Option<T>>) -> Option<(usize, usize)> {
    let mut seen = HashMap::new();
    let mut values = values.enumerate();
    values.find_map(|(position, value)| Some((seen.insert(value?, position)?, position)))
}
