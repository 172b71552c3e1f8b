//! What is kept of a request body, so that it can be read again from the start.
//!
//! Large frames are kept as handles, uncopied. A small handle would pin the whole read buffer that
//! it was cut from, so small frames are copied together into blocks that grow with the body.

use std::collections::VecDeque;

use bytes::Bytes;

use super::budget::{ReplayBudget, Share};

/// From this length on a frame is kept as a handle.
const LARGE: usize = 16 * 1024;
const MIN_BLOCK: usize = 1024;
const MAX_BLOCK: usize = 64 * 1024;

/// Why a body is no longer recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// No further attempt will be made.
    Done,
    /// It exceeds what one request may hold.
    TooLarge,
    /// It exceeds what all requests together may hold.
    OverBudget,
}

#[derive(Debug)]
pub(super) struct Recording {
    frames: Frames,
    /// The first frame that the reader has not read.
    next: usize,
    /// Small frames that the reader has read, being copied together.
    block: Vec<u8>,
    /// The bytes recorded in all.
    len: usize,
    limit: usize,
    share: Share,
    stopped: Option<Stopped>,
}

/// Frames in their order. Most bodies are one frame, so the first needs no allocation.
#[derive(Debug, Default)]
struct Frames {
    first: Option<Kept>,
    rest: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    data: Bytes,
    /// What it counts for in the budget: a block counts with its capacity.
    cost: usize,
}

impl Recording {
    pub(super) fn new(limit: usize, budget: ReplayBudget) -> Self {
        Self {
            frames: Frames::default(),
            next: 0,
            block: Vec::new(),
            len: 0,
            limit,
            share: Share::of(budget),
            stopped: None,
        }
    }

    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.stopped
    }

    /// Whether anything is recorded that the reader has not read.
    pub(super) fn has_unread(&self) -> bool {
        self.next < self.frames.len()
    }

    /// The next recorded frame that the reader has not read.
    pub(super) fn read(&mut self) -> Option<Bytes> {
        if self.stopped.is_some() {
            return self.free_next();
        }
        let data = self.frames.get(self.next)?.data.clone();
        self.next += 1;
        Some(data)
    }

    /// Records a frame that the reader, who has read all before it, gets at the same time.
    pub(super) fn push_read(&mut self, data: &Bytes) {
        // Empty frames say nothing, and any number of them would fit the limit.
        if self.stopped.is_some() || data.is_empty() || !self.admit(data.len()) {
            return;
        }
        if data.len() >= LARGE || self.len == data.len() {
            if self.hold(data.len()) {
                self.close_block();
                self.keep(data.clone(), data.len());
                self.next = self.frames.len();
            }
        } else {
            self.copy(data);
        }
    }

    /// Records a frame that the reader has still to read.
    pub(super) fn push_unread(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        debug_assert!(self.block.is_empty(), "the reader has just been rewound");
        if self.stopped.is_none() {
            self.admit(data.len());
        }
        // The reader is owed it, whether or not it can be read a second time.
        self.share.hold(data.len());
        let cost = data.len();
        self.keep(data, cost);
    }

    /// Has the reader start again.
    pub(super) fn rewind(&mut self) {
        debug_assert!(self.stopped.is_none(), "what was read is gone");
        self.close_block();
        self.next = 0;
    }

    /// Frees what the reader has read, and from now on what it reads.
    pub(super) fn stop(&mut self, why: Stopped) {
        if self.stopped.is_some() {
            return;
        }
        self.stopped = Some(why);
        for _ in 0..std::mem::take(&mut self.next) {
            self.free_next();
        }
        self.share.release(self.block.capacity());
        self.block = Vec::new();
    }

    /// Frees everything: nobody reads any more.
    pub(super) fn clear(&mut self) {
        self.stop(Stopped::Done);
        while self.free_next().is_some() {}
        self.frames = Frames::default();
    }

    fn free_next(&mut self) -> Option<Bytes> {
        let kept = self.frames.pop()?;
        self.share.release(kept.cost);
        Some(kept.data)
    }

    fn admit(&mut self, more: usize) -> bool {
        self.len = self.len.saturating_add(more);
        if self.len > self.limit {
            self.stop(Stopped::TooLarge);
        }
        self.stopped.is_none()
    }

    fn hold(&mut self, bytes: usize) -> bool {
        let held = self.share.try_hold(bytes);
        if !held {
            self.stop(Stopped::OverBudget);
        }
        held
    }

    fn keep(&mut self, data: Bytes, cost: usize) {
        self.frames.push(Kept { data, cost });
    }

    fn copy(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.block.len() == self.block.capacity() {
                self.close_block();
                // As much as is recorded, so that its room is half of what is held at most.
                let capacity = self.len.clamp(MIN_BLOCK, MAX_BLOCK);
                if !self.hold(capacity) {
                    return;
                }
                self.block = Vec::with_capacity(capacity);
                self.share.hold(self.block.capacity() - capacity);
            }
            let room = self.block.capacity() - self.block.len();
            let (now, later) = data.split_at(room.min(data.len()));
            self.block.extend_from_slice(now);
            data = later;
        }
    }

    /// Keeps the block, without the room that is left in it: were it kept, a large frame behind
    /// every small one would have each of them hold a whole block.
    fn close_block(&mut self) {
        if !self.block.is_empty() {
            let mut block = std::mem::take(&mut self.block);
            let capacity = block.capacity();
            block.shrink_to_fit();
            let cost = block.capacity();
            self.share.release(capacity - cost);
            self.keep(Bytes::from(block), cost);
            self.next = self.frames.len();
        }
    }
}

impl Frames {
    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    fn get(&self, at: usize) -> Option<&Kept> {
        match &self.first {
            Some(first) if at == 0 => Some(first),
            Some(_) => self.rest.get(at - 1),
            None => self.rest.get(at),
        }
    }

    fn push(&mut self, kept: Kept) {
        if self.len() == 0 {
            self.first = Some(kept);
        } else {
            self.rest.push_back(kept);
        }
    }

    fn pop(&mut self) -> Option<Kept> {
        self.first.take().or_else(|| self.rest.pop_front())
    }
}
