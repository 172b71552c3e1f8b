//! The keys themselves: secrets in one array, states in another, so that picking a key reads
//! nothing but words that lie side by side.

use std::fmt;
use std::time::Duration;

use super::clock::{Clock, LazyNow};
use super::error::{Exhausted, ExhaustedKind};
use super::secret::Secret;
use super::state::{KeyState, Marked};
use super::word::{Stamp, Until, Word};

pub(super) struct Keys {
    pub(super) name: Box<str>,
    pub(super) words: Box<[Word]>,
    pub(super) entries: Box<[Entry]>,
    pub(super) clock: Clock,
    pub(super) default_cooldown: Duration,
    pub(super) max_cooldown: Duration,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) secret: Secret,
    pub(super) label: Option<Box<str>>,
}

/// A key that was valid when it was looked at, and the generation it was seen under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picked {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Picked {
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

impl Keys {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn entry(&self, index: usize) -> &Entry {
        &self.entries[index]
    }

    pub(super) fn generation(&self, index: usize) -> u32 {
        self.words[index].load().generation()
    }

    pub(super) fn pick(&self, from: usize, now: &mut LazyNow) -> Option<Picked> {
        let (at, stamp) = self
            .words
            .iter()
            .enumerate()
            .skip(from)
            .map(|(at, word)| (at, word.load()))
            .find(|(_, stamp)| self.is_valid(*stamp, now))?;
        Some(Picked {
            index: at as u32,
            generation: stamp.generation(),
        })
    }

    pub(super) fn state(&self, index: usize, now: &mut LazyNow) -> KeyState {
        match self.words[index].load().until() {
            Until::Now => KeyState::Valid,
            Until::Never => KeyState::Permanent,
            Until::Millis(until) => match self.clock.remaining(until, now.get()) {
                None => KeyState::Valid,
                Some(retry_after) => KeyState::Temporary { retry_after },
            },
        }
    }

    /// One pass over all keys but those at `except`, each read once.
    pub(super) fn exhausted(&self, except: &[usize], now: &mut LazyNow) -> Exhausted {
        let mut soonest: Option<Duration> = None;
        for index in (0..self.len()).filter(|index| !except.contains(index)) {
            match self.state(index, now) {
                KeyState::Valid => {
                    return Exhausted {
                        kind: ExhaustedKind::RateLimited,
                        retry_after: None,
                    };
                }
                KeyState::Temporary { retry_after } => {
                    soonest = Some(soonest.map_or(retry_after, |other| other.min(retry_after)));
                }
                KeyState::Permanent => {}
            }
        }
        Exhausted {
            kind: match soonest {
                Some(_) => ExhaustedKind::RateLimited,
                None => ExhaustedKind::Permanent,
            },
            retry_after: soonest,
        }
    }

    pub(super) fn mark_temporary(
        &self,
        index: usize,
        generation: u32,
        wait: Option<Duration>,
    ) -> Marked {
        let wait = wait
            .filter(|wait| !wait.is_zero())
            .unwrap_or(self.default_cooldown)
            .min(self.max_cooldown);
        let mut now = LazyNow::default();
        let until = self.clock.deadline(now.get(), wait);
        let stamp = Stamp::temporary(generation, until);
        let before = self.words[index].raise(stamp);
        if before >= stamp {
            Marked::Unchanged
        } else if self.is_valid(before, &mut now) {
            Marked::Transitioned
        } else {
            Marked::Extended
        }
    }

    pub(super) fn mark_permanent(&self, index: usize, generation: u32) -> Marked {
        let stamp = Stamp::permanent(generation);
        if self.words[index].raise(stamp) >= stamp {
            Marked::Unchanged
        } else {
            Marked::Transitioned
        }
    }

    #[cfg(all(test, not(tower_key_failover_loom)))]
    pub(super) fn reinstate(&self, index: usize) -> bool {
        let word = &self.words[index];
        word.reinstate(word.load())
    }

    fn is_valid(&self, stamp: Stamp, now: &mut LazyNow) -> bool {
        match stamp.until() {
            Until::Now => true,
            Until::Never => false,
            Until::Millis(until) => self.clock.has_come(until, now.get()),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("name", &self.name)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}
