//! Compacts small frames: copies them into blocks.
//!
//! A handle to a small frame would keep alive the whole read buffer that contains the frame. The
//! capacity of new blocks grows with the body, so that at most half of it is unused.

use bytes::Bytes;

/// Frames of this length or more are kept as handles, without a copy.
const LARGE: usize = 16 * 1024;
const MIN_BLOCK: usize = 1024;
const MAX_BLOCK: usize = 64 * 1024;

/// Whether a frame is small enough to be copied.
pub(super) fn is_small(frame: &Bytes) -> bool {
    frame.len() < LARGE
}

/// The room that a first frame needs in a body of at least this length, if it is small.
pub(super) fn room_for_first(len: u64) -> usize {
    usize::try_from(len).map_or(0, |len| if len < LARGE { len } else { 0 })
}

/// The block that small frames are copied into.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
}

impl Block {
    /// The room that a new block has in a body of which `recorded` bytes are recorded.
    pub(super) fn capacity_for(recorded: usize) -> usize {
        recorded.clamp(MIN_BLOCK, MAX_BLOCK)
    }

    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() == self.bytes.capacity()
    }

    /// Copies as much as there is room for, and returns the rest.
    pub(super) fn fill<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let room = self.bytes.capacity() - self.bytes.len();
        let (now, later) = data.split_at(room.min(data.len()));
        self.bytes.extend_from_slice(now);
        later
    }

    /// Returns the block without its unused room, and the capacity that remains.
    ///
    /// Otherwise, if small and large frames alternated, each small frame would occupy a whole block.
    pub(super) fn close(mut self) -> (Bytes, usize) {
        self.bytes.shrink_to_fit();
        let capacity = self.bytes.capacity();
        (Bytes::from(self.bytes), capacity)
    }
}
