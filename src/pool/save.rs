//! Saving a pool's marks and restoring them after a restart.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::clock::LazyNow;
use super::pooled_key::PooledKey;
use super::reason::{Cause, Reason};
use super::scope::Scope;
use super::scoped::{Purpose, Scopes};
use super::select::KeyList;
use super::state::{KeyState, Limit, LimitConfig, Marked};

/// The marks of a pool, to be written to a file and [restored](crate::KeyPool::restore) after a
/// restart.
///
/// It contains no key and no part of one. A key is identified by a fingerprint: the first 128 bits of
/// the SHA-256 of a random salt, which is stored with it, and the key. Anyone who can read the file
/// can test a guess. Nobody can guess a key that a provider generated. If people chose your
/// keys, keep the file private.
///
/// Deadlines are wall-clock times, in milliseconds since 1970.
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedPool {
    version: Version,
    salt: Hex,
    /// Keys with a mark of their own.
    keys: Vec<SavedKey>,
    /// Groups with a mark.
    groups: Vec<SavedGroup>,
    /// Marks that are limited to a scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<SavedScope>,
}

#[derive(Clone, Serialize, Deserialize)]
struct SavedScope {
    of: ScopeOwner,
    scope: String,
    state: SavedState,
    reason: SavedReason,
    /// Whether the mark is a refusal of access, and not a rate limit.
    #[serde(default)]
    is_access: bool,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ScopeOwner {
    /// The fingerprint of a key.
    Key(Hex),
    /// The name of a group.
    Group(String),
}

#[derive(Clone, Serialize, Deserialize)]
struct SavedKey {
    fingerprint: Hex,
    state: SavedState,
    reason: SavedReason,
}

#[derive(Clone, Serialize, Deserialize)]
struct SavedGroup {
    name: String,
    state: SavedState,
    reason: SavedReason,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedState {
    /// Milliseconds since 1970.
    Until(u64),
    Permanent,
    /// By an operator. It is never probed.
    Disabled,
}

/// An unknown reason becomes "other".
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct SavedReason(Reason);

/// There is only one version.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Version;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Hex([u8; 16]);

impl SavedPool {
    /// Collects the marks of the keys in `list`.
    pub(super) fn of(list: &KeyList, config: &LimitConfig) -> Self {
        let (salt, wall, mut now) = (Hex::random(), since_1970(), LazyNow::default());
        let keys = list.keys.iter().filter_map(|key| {
            let (state, reason) = saved_mark(&key.core.limit, config, wall, &mut now)?;
            Some(SavedKey {
                state,
                reason,
                fingerprint: salt.fingerprint(key),
            })
        });
        let keys = keys.collect();
        let groups: BTreeMap<_, _> = list
            .keys
            .iter()
            .filter_map(|key| key.group.as_deref())
            .map(|group| (&*group.name, group))
            .collect();
        let mut scopes = Vec::new();
        for key in &list.keys {
            let owner = ScopeOwner::Key(salt.fingerprint(key));
            scopes.extend(saved_scopes(
                owner,
                &key.core.scopes,
                config,
                wall,
                &mut now,
            ));
        }
        for (name, group) in &groups {
            let owner = ScopeOwner::Group((*name).to_owned());
            scopes.extend(saved_scopes(owner, &group.scopes, config, wall, &mut now));
        }
        let groups = groups.into_iter().filter_map(|(name, group)| {
            let (state, reason) = saved_mark(&group.limit, config, wall, &mut now)?;
            Some(SavedGroup {
                name: name.to_owned(),
                state,
                reason,
            })
        });
        Self {
            version: Version,
            salt,
            groups: groups.collect(),
            keys,
            scopes,
        }
    }

    /// Marks the keys in `list`. Returns how many of the saved keys it contains.
    pub(super) fn restore_to(&self, list: &KeyList) -> usize {
        let wall = since_1970();
        let keys: HashMap<_, _> = list
            .keys
            .iter()
            .map(|key| (self.salt.fingerprint(key), key))
            .collect();
        // An edited file may name a key twice.
        let mut found = HashSet::new();
        for saved in &self.keys {
            if let Some(key) = keys.get(&saved.fingerprint) {
                restore_mark(key, &key.core.limit, saved.state, saved.reason, wall);
                found.insert(saved.fingerprint);
            }
        }
        for saved in &self.groups {
            let found = list.keys.iter().find_map(|key| {
                let group = key.group.as_deref()?;
                (*group.name == *saved.name).then_some((key, &group.limit))
            });
            if let Some((key, limit)) = found {
                restore_mark(key, limit, saved.state, saved.reason, wall);
            }
        }
        for saved in &self.scopes {
            let owner = match &saved.of {
                ScopeOwner::Key(fingerprint) => {
                    keys.get(fingerprint).map(|key| (*key, &key.core.scopes))
                }
                ScopeOwner::Group(name) => list.keys.iter().find_map(|key| {
                    let group = key.group.as_deref()?;
                    (*group.name == **name).then_some((key, &group.scopes))
                }),
            };
            if let Some((key, scopes)) = owner {
                restore_scope(key, scopes, saved, wall);
            }
        }
        found.len()
    }
}

fn saved_scopes(
    of: ScopeOwner,
    scopes: &Scopes,
    config: &LimitConfig,
    wall: Duration,
    now: &mut LazyNow,
) -> Vec<SavedScope> {
    let entries = scopes.all().into_iter();
    let saved = entries.filter_map(|entry| {
        let (state, reason) = saved_mark(&entry.limit, config, wall, now)?;
        Some(SavedScope {
            of: of.clone(),
            scope: entry.scope.as_str().to_owned(),
            state,
            reason,
            is_access: entry.is_access_refused(config, now),
        })
    });
    saved.collect()
}

/// Marks a scope of `key` or of its group. A mark that no scope can have is ignored.
fn restore_scope(key: &PooledKey, scopes: &Scopes, saved: &SavedScope, wall: Duration) {
    let (config, now) = (key.limit_config(), &mut LazyNow::default());
    let (Some(scope), SavedState::Until(until)) = (Scope::new(&saved.scope), saved.state) else {
        return;
    };
    let left = Duration::from_millis(until).saturating_sub(wall);
    if left.is_zero() {
        return;
    }
    let cause = Cause::of(saved.reason.0);
    let retry_after = config.cooldown.first(Some(left));
    let purpose = match saved.is_access {
        true => Purpose::Access,
        false => Purpose::RateLimit(retry_after),
    };
    let marked = scopes.change(&scope, purpose, config, now, |entry, now| {
        let limit = &entry.limit;
        limit.cool_down(config, limit.value(), retry_after, false, cause, now)
    });
    let state = KeyState::Temporary { retry_after };
    let marked = marked.unwrap_or(Marked::Unchanged);
    key.after_mark(marked, Some(&scope), state, cause);
}

/// Returns `None` if the limit is not marked.
fn saved_mark(
    limit: &Limit,
    config: &LimitConfig,
    wall: Duration,
    now: &mut LazyNow,
) -> Option<(SavedState, SavedReason)> {
    let state = match limit.state(config, now) {
        KeyState::Valid => return None,
        KeyState::Temporary { retry_after } => {
            // The remaining time was rounded down.
            let until = wall.saturating_add(retry_after).as_millis() + 1;
            SavedState::Until(u64::try_from(until).unwrap_or(u64::MAX))
        }
        KeyState::Permanent if limit.is_removed() => return None,
        KeyState::Permanent if limit.is_disabled() => SavedState::Disabled,
        KeyState::Permanent => SavedState::Permanent,
    };
    Some((state, SavedReason(limit.reason().unwrap_or(Reason::Other))))
}

/// Marks a limit of `key`: its own or its group's.
fn restore_mark(
    key: &PooledKey,
    limit: &Limit,
    state: SavedState,
    reason: SavedReason,
    wall: Duration,
) {
    let (config, seen) = (key.limit_config(), limit.value());
    let cause = Cause::of(reason.0);
    let (marked, state) = match state {
        SavedState::Until(until) => {
            let left = Duration::from_millis(until).saturating_sub(wall);
            if left.is_zero() {
                return;
            }
            let now = &mut LazyNow::default();
            let retry_after = limit.cooldown(config, Some(left), now);
            let marked = limit.cool_down(config, seen, retry_after, false, cause, now);
            (marked, KeyState::Temporary { retry_after })
        }
        SavedState::Permanent => {
            let marked = limit.mark_permanently(config, seen, cause);
            (marked, KeyState::Permanent)
        }
        SavedState::Disabled => (limit.disable(), KeyState::Permanent),
    };
    key.after_mark(marked, None, state, cause);
}

impl Hex {
    /// An unpredictable and unique value. It does not have to be secret.
    fn random() -> Self {
        let half = || RandomState::new().hash_one(()).to_ne_bytes();
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&half());
        salt[8..].copy_from_slice(&half());
        Self(salt)
    }

    /// The fingerprint of a key, with this value as the salt.
    fn fingerprint(&self, key: &PooledKey) -> Self {
        let key = key.secret.expose();
        let hash = Sha256::new().chain_update(self.0).chain_update(key);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash.finalize()[..16]);
        Self(fingerprint)
    }
}

impl From<Hex> for String {
    fn from(Hex(bytes): Hex) -> Self {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Hex {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const ERROR: &str = "not 32 hexadecimal digits";
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = u128::from_str_radix(&text, 16).map_err(|_| ERROR)?;
        is_hex.then_some(Self(bits.to_be_bytes())).ok_or(ERROR)
    }
}

impl From<SavedReason> for String {
    fn from(reason: SavedReason) -> Self {
        reason.0.as_str().to_owned()
    }
}

impl From<String> for SavedReason {
    fn from(name: String) -> Self {
        let known = Reason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == name);
        Self(known.unwrap_or(Reason::Other))
    }
}

impl From<Version> for u32 {
    fn from(_: Version) -> Self {
        1
    }
}

impl TryFrom<u32> for Version {
    type Error = &'static str;

    fn try_from(version: u32) -> Result<Self, Self::Error> {
        match version {
            1 => Ok(Self),
            _ => Err("unknown version of a saved pool"),
        }
    }
}

impl fmt::Debug for SavedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedPool")
            .field("keys", &self.keys.len())
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}

fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default()
}
