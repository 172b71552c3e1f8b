//! Bodies that are generated from a number, and their checksums.

use std::collections::VecDeque;
use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use ring::digest;

use crate::random::Random;

pub type Payload = UnsyncBoxBody<Bytes, io::Error>;

pub const LONGEST: usize = 2 << 20;

static BLOCK: LazyLock<Bytes> = LazyLock::new(|| {
    let mut random = Random::of([0]);
    let words = 2 * LONGEST / 8;
    (0..words)
        .flat_map(|_| random.next().to_be_bytes())
        .collect()
});

/// The body with this number and length.
pub fn content(number: u64, length: usize) -> Bytes {
    let at = Random::of([number]).within(0..LONGEST as u64) as usize;
    BLOCK.slice(at..at + length)
}

/// The checksum of a number and its body.
pub struct Checksum(digest::Context);

impl Checksum {
    pub fn begin(number: u64) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&number.to_be_bytes());
        Self(context)
    }

    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    pub fn finish(self) -> String {
        let digest = self.0.finish();
        digest.as_ref()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    pub fn of(number: u64, data: &[u8]) -> String {
        let mut checksum = Self::begin(number);
        checksum.update(data);
        checksum.finish()
    }
}

/// A step of sending a body.
#[derive(Debug)]
pub enum Part {
    Data(Bytes),
    Wait(Duration),
    /// The body is cut.
    Cut,
    /// The body never ends.
    WithoutEnd(Bytes),
}

pub fn payload(parts: Vec<Part>) -> Payload {
    let frames = stream::unfold(VecDeque::from(parts), |mut parts| async move {
        loop {
            return match parts.pop_front()? {
                Part::Data(data) => Some((Ok(Frame::data(data)), parts)),
                Part::Cut => Some((Err(io::Error::other("cut")), parts)),
                Part::Wait(time) => {
                    tokio::time::sleep(time).await;
                    continue;
                }
                Part::WithoutEnd(data) => {
                    tokio::task::yield_now().await;
                    parts.push_front(Part::WithoutEnd(data.clone()));
                    Some((Ok(Frame::data(data)), parts))
                }
            };
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Splits data into pieces of random size, with pauses.
pub fn pieces(mut data: Bytes, random: &mut Random) -> Vec<Part> {
    let mut parts = Vec::new();
    while !data.is_empty() {
        let longest = if random.percent(30) { 200 } else { 64 << 10 };
        let length = random.within(1..longest + 1).min(data.len() as u64);
        parts.push(Part::Data(data.split_to(length as usize)));
        if parts.len() > 200 {
            // Limit the number of pieces.
            parts.push(Part::Data(std::mem::take(&mut data)));
        } else if random.percent(3) {
            parts.push(Part::Wait(random.millis(1..30)));
        }
    }
    parts
}
