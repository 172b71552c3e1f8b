//! A pool's state over restarts: what is out, and for how long, without a key.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::KeyPool;
use super::clock::LazyNow;
use super::gate::Gate;
use super::reason::{Cause, Reason};
use super::rules::Rules;
use super::slot::Slot;
use super::state::{KeyState, Marked};

/// What of a pool is out, and until when, to be written to a file and
/// [restored](KeyPool::restore) after a restart.
///
/// It holds no key, nor a part of one. A key is known by a fingerprint: the first 128 bits of the
/// SHA-256 of a random salt, which stands beside it, and of the key. Whoever reads the file can test
/// a guess of a key. A provider's key cannot be guessed; keep the file to yourself all the same if
/// yours were made up by people.
///
/// Deadlines are in milliseconds since 1970, by the wall clock.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedPool {
    version: Version,
    salt: Hex,
    /// Keys that are out by themselves.
    keys: Vec<SavedKey>,
    /// Groups that are out.
    groups: Vec<SavedGroup>,
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
    /// By a person: out of reach of trials.
    Disabled,
}

/// One that is not known is "other".
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct SavedReason(Reason);

/// The only one that there is.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Version;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Hex([u8; 16]);

impl KeyPool {
    /// What of the pool is out now, for [`restore`](Self::restore) after a restart.
    ///
    /// ```
    /// use tower_key_failover::pool::{KeyPool, KeyState, SavedPool};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let before = KeyPool::new(["sk-first-0123456789ab", "sk-second-0123456789"])?;
    /// before.keys().next().unwrap().mark_permanent();
    /// let file = serde_json::to_string(&before.save())?;
    /// assert!(!file.contains("sk-f") && !file.contains("89ab"));
    ///
    /// // After a restart the keys may stand in another order, and be others.
    /// let after = KeyPool::new(["sk-third-0123456789c", "sk-first-0123456789ab"])?;
    /// let saved: SavedPool = serde_json::from_str(&file)?;
    /// assert_eq!(after.restore(&saved), 1);
    /// assert_eq!(after.states(), [KeyState::Valid, KeyState::Permanent]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn save(&self) -> SavedPool {
        let list = self.inner.list();
        let rules = &self.inner.shared.rules;
        let (salt, wall, mut now) = (Hex::random(), since_1970(), LazyNow::default());
        let keys = list.slots.iter().filter_map(|slot| {
            let gate = &slot.core.gate;
            Some(SavedKey {
                state: gate.save(rules, wall, &mut now)?,
                reason: gate.saved_reason(),
                fingerprint: salt.fingerprint(slot),
            })
        });
        let keys = keys.collect();
        let groups: BTreeMap<_, _> = list
            .slots
            .iter()
            .filter_map(|slot| slot.group.as_deref())
            .map(|group| (&*group.name, &group.gate))
            .collect();
        let groups = groups.into_iter().filter_map(|(name, gate)| {
            Some(SavedGroup {
                name: name.to_owned(),
                state: gate.save(rules, wall, &mut now)?,
                reason: gate.saved_reason(),
            })
        });
        SavedPool {
            version: Version,
            salt,
            groups: groups.collect(),
            keys,
        }
    }

    /// Puts out what was out when the pool was saved and still would be. How many keys of those that
    /// were out were found.
    ///
    /// No mark that the pool has already is shortened or undone, and a key of which nothing was saved
    /// stays as it is. A deadline that is over puts nothing out, and none is further off than the
    /// pool's [longest cooldown](super::KeyPoolBuilder::max_cooldown). What was
    /// [disabled](Self::disable) stays out of reach of trials; any other key that is out is
    /// [tried](super::KeyPoolBuilder::probe_after) after as long as if it had been marked now.
    ///
    /// What is put out is told like any mark, that of a group with one of its keys.
    pub fn restore(&self, saved: &SavedPool) -> usize {
        let list = self.inner.list();
        let wall = since_1970();
        let keys: HashMap<_, _> = list
            .slots
            .iter()
            .map(|slot| (saved.salt.fingerprint(slot), slot))
            .collect();
        // A file that was edited may name one twice.
        let mut found = HashSet::new();
        for key in &saved.keys {
            if let Some(slot) = keys.get(&key.fingerprint) {
                slot.restore(&slot.core.gate, key.state, key.reason, wall);
                found.insert(key.fingerprint);
            }
        }
        for saved in &saved.groups {
            let found = list.slots.iter().find_map(|slot| {
                let group = slot.group.as_deref()?;
                (*group.name == *saved.name).then_some((slot, &group.gate))
            });
            if let Some((slot, gate)) = found {
                slot.restore(gate, saved.state, saved.reason, wall);
            }
        }
        found.len()
    }
}

impl Slot {
    /// Puts a gate, its own or its group's, out again.
    fn restore(&self, gate: &Gate, state: SavedState, reason: SavedReason, wall: Duration) {
        let cause = Cause::of(reason.0);
        if let Some((marked, state)) = gate.restore(&self.shared.rules, state, cause, wall) {
            self.note_mark(marked, state, cause);
        }
    }
}

impl Gate {
    /// `None` where it is not out.
    fn save(&self, rules: &Rules, wall: Duration, now: &mut LazyNow) -> Option<SavedState> {
        match self.state(rules, now) {
            KeyState::Valid => None,
            KeyState::Temporary { retry_after } => {
                // What is left was rounded down.
                let until = wall.saturating_add(retry_after).as_millis() + 1;
                Some(SavedState::Until(u64::try_from(until).unwrap_or(u64::MAX)))
            }
            KeyState::Permanent if self.is_removed() => None,
            KeyState::Permanent if self.is_disabled() => Some(SavedState::Disabled),
            KeyState::Permanent => Some(SavedState::Permanent),
        }
    }

    fn is_disabled(&self) -> bool {
        self.reason() == Some(Reason::Operator) && self.trial.offer(self.stamp()).due == 0
    }

    fn saved_reason(&self) -> SavedReason {
        SavedReason(self.reason().unwrap_or(Reason::Other))
    }

    /// What that changed, and the state that it was put to. `None` where the deadline is over.
    fn restore(
        &self,
        rules: &Rules,
        state: SavedState,
        cause: Cause,
        wall: Duration,
    ) -> Option<(Marked, KeyState)> {
        let generation = self.stamp().generation();
        Some(match state {
            SavedState::Until(until) => {
                let left = Duration::from_millis(until).checked_sub(wall)?;
                let left = Some(left).filter(|left| !left.is_zero())?;
                let (marked, retry_after) = self.put_out(rules, generation, Some(left), cause);
                (marked, KeyState::Temporary { retry_after })
            }
            SavedState::Permanent => {
                let marked = self.put_out_for_good(rules, generation, cause);
                (marked, KeyState::Permanent)
            }
            SavedState::Disabled => (self.disable(), KeyState::Permanent),
        })
    }
}

impl Hex {
    /// Not to be foreseen, nor to come twice. It need not be secret.
    fn random() -> Self {
        let half = || RandomState::new().hash_one(()).to_ne_bytes();
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&half());
        salt[8..].copy_from_slice(&half());
        Self(salt)
    }

    /// That of a key, where this is the salt.
    fn fingerprint(&self, slot: &Slot) -> Self {
        let key = slot.core.secret.expose();
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
            _ => Err("a version of saved pools that is not known"),
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
