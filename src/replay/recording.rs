//! The recorded part of a request body, which can be read again from the start.
//!
//! Large frames are kept as handles, without a copy. Small frames are compacted: see
//! [`small_frames`](super::small_frames).

use std::collections::VecDeque;

use bytes::Bytes;

use super::budget::{ReplayBudget, Share};
use super::recorded_head::RecordedHead;
use super::small_frames::{Block, is_small};

/// Why a body is no longer recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// No further attempt will be made.
    Done,
    /// It exceeds the limit for one request.
    TooLarge,
    /// It exceeds the budget for all requests together.
    OverBudget,
}

#[derive(Debug)]
pub(super) struct Recording {
    /// The length of the first frame, if it is recorded with the head.
    first: Option<usize>,
    /// All other frames.
    frames: Frames,
    /// The index of the first frame that the reader has not read.
    next: usize,
    /// The small frames at the end, all of which the reader has read.
    block: Block,
    /// How many bytes were recorded in all.
    len: usize,
    limit: usize,
    share: Share,
    stopped: Option<Stopped>,
}

/// Frames in order. Many bodies are a single frame, so the first needs no allocation.
#[derive(Debug, Default)]
struct Frames {
    first: Option<Kept>,
    rest: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    data: Bytes,
    /// How many bytes it counts for in the budget. For a block, this is its capacity.
    cost: usize,
}

impl Recording {
    pub(super) fn new(limit: usize, budget: ReplayBudget) -> Self {
        Self {
            first: None,
            frames: Frames::default(),
            next: 0,
            block: Block::default(),
            len: 0,
            limit,
            share: Share::of(budget),
            stopped: None,
        }
    }

    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.stopped
    }

    /// Whether something is recorded that the reader has not read.
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

    /// Records a frame that the reader gets at the same time. It has read everything before it.
    pub(super) fn push_read(&mut self, data: &Bytes, head: Option<&mut RecordedHead>) {
        // Empty frames carry nothing, and any number of them would fit the limit.
        if self.stopped.is_some() || data.is_empty() || !self.admit(data.len()) {
            return;
        }
        if is_small(data) && self.len > data.len() {
            self.copy(data);
        } else if !self.hold(data.len()) {
            // The recording has stopped.
        } else if is_small(data) {
            // Without a further allocation, because most bodies are a single small frame.
            if head.is_some_and(|head| head.push_body(data)) {
                self.first = Some(data.len());
            } else {
                self.keep_read(Bytes::copy_from_slice(data));
            }
        } else {
            self.close_block();
            self.keep_read(data.clone());
        }
    }

    /// Records a frame that the reader has not read.
    pub(super) fn push_unread(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        debug_assert!(self.block.is_empty(), "the reader has just been rewound");
        if self.stopped.is_none() {
            self.admit(data.len());
        }
        // The reader needs it even if it cannot be read a second time.
        self.share.hold(data.len());
        let cost = data.len();
        let data = match is_small(&data) {
            true => Bytes::copy_from_slice(&data),
            false => data,
        };
        self.keep(data, cost);
    }

    /// Lets the reader start at the beginning.
    pub(super) fn rewind(&mut self, head: Option<&mut RecordedHead>) {
        debug_assert!(self.stopped.is_none(), "what was read is freed");
        self.close_block();
        if let (Some(cost), Some(head)) = (self.first.take(), head) {
            let data = head.body();
            self.frames.push_first(Kept { data, cost });
        }
        self.next = 0;
    }

    /// Frees what the reader has read, and what it reads from now on.
    pub(super) fn stop(&mut self, why: Stopped) {
        if self.stopped.is_some() {
            return;
        }
        self.stopped = Some(why);
        if let Some(first) = self.first.take() {
            self.share.release(first);
        }
        for _ in 0..std::mem::take(&mut self.next) {
            self.free_next();
        }
        self.share.release(self.block.capacity());
        self.block = Block::default();
    }

    /// Frees everything, since nobody reads any more.
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

    fn keep_read(&mut self, data: Bytes) {
        let cost = data.len();
        self.keep(data, cost);
        self.next = self.frames.len();
    }

    fn copy(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.block.is_full() {
                self.close_block();
                let capacity = Block::capacity_for(self.len);
                if !self.hold(capacity) {
                    return;
                }
                self.block = Block::with_capacity(capacity);
                self.share.hold(self.block.capacity() - capacity);
            }
            data = self.block.fill(data);
        }
    }

    /// Turns the block into a frame.
    fn close_block(&mut self) {
        if !self.block.is_empty() {
            let capacity = self.block.capacity();
            let (frame, cost) = std::mem::take(&mut self.block).close();
            self.share.release(capacity - cost);
            self.keep(frame, cost);
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

    fn push_first(&mut self, kept: Kept) {
        if let Some(second) = self.first.replace(kept) {
            self.rest.push_front(second);
        }
    }

    fn pop(&mut self) -> Option<Kept> {
        self.first.take().or_else(|| self.rest.pop_front())
    }
}
