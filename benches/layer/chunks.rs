use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A body in frames of 16 KiB, all of which are there.
#[derive(Clone, Debug)]
pub struct Chunks(Bytes);

impl Chunks {
    const FRAME: usize = 16 * 1024;

    pub fn new(len: usize) -> Self {
        // Shared from the start, as a read buffer's parts are.
        let bytes = Bytes::from(vec![b'x'; len]);
        let _ = bytes.clone();
        Self(bytes)
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.0.len().min(Self::FRAME);
        Poll::Ready(Some(Ok(Frame::data(self.0.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
