//! Contiguous blocks of atomic states.
//!
//! Keys that are added together share a block, so that a search through a long list skips unusable
//! keys without reading the keys themselves. A list that was reloaded can consist of several runs.

use std::ops::{Deref, Range};
use std::sync::Arc;

use super::atomic_state::AtomicState;

/// A reference to one state in a block.
pub(in crate::pool) struct StateRef {
    block: Arc<[AtomicState]>,
    at: usize,
}

impl StateRef {
    /// References to `len` states in a new block.
    pub(in crate::pool) fn block(len: usize) -> impl Iterator<Item = Self> {
        let block: Arc<[AtomicState]> = (0..len).map(|_| AtomicState::new()).collect();
        (0..len).map(move |at| Self {
            block: Arc::clone(&block),
            at,
        })
    }

    /// A state in a block of its own.
    pub(in crate::pool) fn single() -> Self {
        Self {
            block: Arc::new([AtomicState::new()]),
            at: 0,
        }
    }
}

impl Deref for StateRef {
    type Target = AtomicState;

    #[inline]
    fn deref(&self) -> &AtomicState {
        &self.block[self.at]
    }
}

/// Adjacent states of consecutive keys in a list.
pub(in crate::pool) struct StateRun {
    block: Arc<[AtomicState]>,
    range: Range<usize>,
}

impl StateRun {
    /// Splits `states` into as few runs as possible.
    pub(in crate::pool) fn all<'a>(states: impl Iterator<Item = &'a StateRef>) -> Box<[Self]> {
        let mut runs: Vec<Self> = Vec::new();
        for StateRef { block, at } in states {
            match runs.last_mut() {
                Some(run) if run.range.end == *at && Arc::ptr_eq(&run.block, block) => {
                    run.range.end += 1;
                }
                _ => runs.push(Self {
                    block: Arc::clone(block),
                    range: *at..at + 1,
                }),
            }
        }
        runs.into()
    }

    #[inline]
    pub(in crate::pool) fn states(&self) -> &[AtomicState] {
        &self.block[self.range.clone()]
    }
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use super::{StateRef, StateRun};

    #[test]
    fn a_reloaded_list_consists_of_runs() {
        let old: Vec<_> = StateRef::block(4).collect();
        let new: Vec<_> = StateRef::block(2).collect();
        let lengths = |states: &[&StateRef]| {
            let runs = StateRun::all(states.iter().copied());
            runs.iter()
                .map(|run| run.states().len())
                .collect::<Vec<_>>()
        };
        assert_eq!(lengths(&[&old[0], &old[1], &old[2], &old[3]]), [4]);
        assert_eq!(lengths(&[&old[0], &old[2], &old[3], &new[0]]), [1, 2, 1]);
        // The next index, but in another block.
        assert_eq!(lengths(&[&old[0], &new[1], &old[1]]), [1, 1, 1]);
        assert_eq!(lengths(&[&new[1], &new[0]]), [1, 1]);
    }
}
