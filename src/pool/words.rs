//! The words of a pool's keys, side by side.
//!
//! A walk over a long list passes by those that are out, without a look at each key. Keys that came
//! into a pool together have a block of words; a list that was changed is made of several runs.

use std::ops::{Deref, Range};
use std::sync::Arc;

use super::word::Word;

/// A key's word, in a block of them.
pub(super) struct WordRef {
    block: Arc<[Word]>,
    at: usize,
}

impl WordRef {
    /// So many of a new block.
    pub(super) fn block(len: usize) -> impl Iterator<Item = Self> {
        let block: Arc<[Word]> = (0..len).map(|_| Word::new()).collect();
        (0..len).map(move |at| Self {
            block: Arc::clone(&block),
            at,
        })
    }

    pub(super) fn alone() -> Self {
        Self {
            block: Arc::new([Word::new()]),
            at: 0,
        }
    }
}

impl Deref for WordRef {
    type Target = Word;

    #[inline]
    fn deref(&self) -> &Word {
        &self.block[self.at]
    }
}

/// Words of a list's keys, in the list's order.
pub(super) struct Run {
    block: Arc<[Word]>,
    range: Range<usize>,
}

impl Run {
    /// As few of them as there can be.
    pub(super) fn all<'a>(cells: impl Iterator<Item = &'a WordRef>) -> Box<[Self]> {
        let mut runs: Vec<Self> = Vec::new();
        for WordRef { block, at } in cells {
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
    pub(super) fn words(&self) -> &[Word] {
        &self.block[self.range.clone()]
    }
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use super::{Run, WordRef};

    #[test]
    fn a_list_that_was_changed_is_made_of_runs() {
        let old: Vec<_> = WordRef::block(4).collect();
        let new: Vec<_> = WordRef::block(2).collect();
        let lengths = |cells: &[&WordRef]| {
            let runs = Run::all(cells.iter().copied());
            runs.iter().map(|run| run.words().len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&[&old[0], &old[1], &old[2], &old[3]]), [4]);
        assert_eq!(lengths(&[&old[0], &old[2], &old[3], &new[0]]), [1, 2, 1]);
        // The next in number, but of another block.
        assert_eq!(lengths(&[&old[0], &new[1], &old[1]]), [1, 1, 1]);
        assert_eq!(lengths(&[&new[1], &new[0]]), [1, 1]);
    }
}
