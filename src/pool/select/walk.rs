//! The order in which a search looks at the keys.

use std::ops::Range;

/// Positions from a start to the end of the list, and then from its beginning to the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    next: usize,
    end: usize,
    /// The end of the second part. Zero once the walk has reached it.
    wrapped_end: usize,
}

impl Walk {
    /// A walk over `len` keys.
    #[inline]
    pub(super) fn new(start: usize, len: usize) -> Self {
        Self {
            next: start,
            end: len,
            wrapped_end: start,
        }
    }

    /// A walk over the keys from `start` to the end.
    #[inline]
    pub(super) fn to_end(start: usize, len: usize) -> Self {
        Self {
            next: start,
            end: len,
            wrapped_end: 0,
        }
    }

    /// The next position at which `find` finds a key. `find` returns the first such position in a part
    /// of the list, if there is one.
    #[inline]
    pub(super) fn next(
        &mut self,
        mut find: impl FnMut(Range<usize>) -> Option<usize>,
    ) -> Option<usize> {
        loop {
            if self.next < self.end
                && let Some(at) = find(self.next..self.end)
            {
                self.next = at + 1;
                return Some(at);
            }
            if self.wrapped_end == 0 {
                self.next = self.end;
                return None;
            }
            *self = Self {
                next: 0,
                end: self.wrapped_end,
                wrapped_end: 0,
            };
        }
    }
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use std::ops::Range;

    use super::Walk;

    fn positions(start: usize, open: &[bool]) -> Vec<usize> {
        let mut walk = Walk::new(start, open.len());
        let find = |part: Range<usize>| part.into_iter().find(|at| open[*at]);
        let found = std::iter::from_fn(|| walk.next(find)).collect();
        assert_eq!(walk.next(find), None, "a walk that has ended stays so");
        found
    }

    #[test]
    fn a_walk_passes_each_open_key_once() {
        assert_eq!(positions(0, &[true, true, true]), [0, 1, 2]);
        assert_eq!(positions(2, &[true, true, true]), [2, 0, 1]);
        assert_eq!(positions(1, &[true, false, true, false]), [2, 0]);
        assert_eq!(positions(3, &[false, true, true, false]), [1, 2]);
        assert!(positions(2, &[false, false, false]).is_empty());
        assert_eq!(positions(0, &[true]), [0]);
    }
}
