//! Why no key is left, and the `retry-after` of the exhausted response.

use std::sync::Arc;
use std::time::Duration;

use super::list::KeyList;
use crate::pool::clock::LazyNow;
use crate::pool::error::{Exhausted, ExhaustedKind};
use crate::pool::key_choice::KeyChoice;
use crate::pool::pooled_key::PooledKey;
use crate::pool::state::KeyState;

/// Reads each key once that the `choice` allows and that did not `refuse` the request. The wait is the
/// shortest remaining cooldown, and unknown if a key is valid.
pub(in crate::pool) fn exhausted(
    list: &KeyList,
    choice: Option<&KeyChoice>,
    refused: impl Fn(&PooledKey) -> bool,
    now: &mut LazyNow,
) -> Exhausted {
    let is_allowed = |key: &&Arc<PooledKey>| choice.is_none_or(|choice| choice.allows(key));
    let mut keys = list.keys.iter().filter(is_allowed).peekable();
    if keys.peek().is_none() {
        return Exhausted {
            kind: ExhaustedKind::UnknownPin,
            retry_after: None,
        };
    }
    let scope = choice.and_then(KeyChoice::scope_ref);
    let mut soonest: Option<Duration> = None;
    let (mut is_any_disabled, mut is_any_refused) = (false, false);
    for key in keys {
        if refused(key) {
            is_any_refused = true;
            continue;
        }
        match key.limits_for(scope).state(now) {
            KeyState::Valid => {
                return Exhausted {
                    kind: ExhaustedKind::RateLimited,
                    retry_after: None,
                };
            }
            KeyState::Temporary { retry_after } => {
                soonest = Some(soonest.map_or(retry_after, |other| other.min(retry_after)));
            }
            KeyState::Permanent if key.core.limit.is_disabled() => is_any_disabled = true,
            KeyState::Permanent => is_any_refused = true,
        }
    }
    Exhausted {
        kind: match soonest {
            Some(_) => ExhaustedKind::RateLimited,
            None if is_any_disabled && !is_any_refused => ExhaustedKind::Disabled,
            None => ExhaustedKind::Permanent,
        },
        retry_after: soonest,
    }
}
