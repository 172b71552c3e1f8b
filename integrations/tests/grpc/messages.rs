//! The messages of the test service, and a time limit for every test.

use std::future::Future;
use std::time::Duration;

use futures_util::{Stream, stream};
use prost::Message;
use tokio::sync::mpsc;

/// Fails instead of hanging.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    let timeout = tokio::time::timeout(Duration::from_secs(20), future).await;
    timeout.expect("the test hangs")
}

#[derive(Clone, PartialEq, Message)]
pub struct Say {
    #[prost(string, tag = "1")]
    pub text: String,
}

pub fn say(text: impl Into<String>) -> Say {
    Say { text: text.into() }
}

/// A stream of messages that the test sends.
pub fn stream() -> (mpsc::UnboundedSender<Say>, impl Stream<Item = Say> + Send) {
    let (sender, messages) = mpsc::unbounded_channel();
    let stream = stream::unfold(messages, async |mut messages| {
        Some((messages.recv().await?, messages))
    });
    (sender, stream)
}
