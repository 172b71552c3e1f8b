//! A removed key starts no attempt. Attempts in progress finish with it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::pool::pooled_key::PooledKey;
use crate::pool::select::KeyList;

/// Marks the keys that `new` lacks as removed and returns them.
pub(super) fn remove_missing<'a>(
    old: &'a KeyList,
    new: &KeyList,
) -> impl Iterator<Item = &'a Arc<PooledKey>> {
    missing(old, new).inspect(|key| key.core.limit.remove())
}

/// The keys of one list that another list lacks.
pub(super) fn missing<'a>(
    of: &'a KeyList,
    other: &KeyList,
) -> impl Iterator<Item = &'a Arc<PooledKey>> + use<'a> {
    let there: HashSet<_> = other
        .keys
        .iter()
        .map(|key| Arc::as_ptr(&key.core))
        .collect();
    of.keys
        .iter()
        .filter(move |key| !there.contains(&Arc::as_ptr(&key.core)))
}
