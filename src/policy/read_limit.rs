use std::time::Duration;

/// How much of a body the layer reads before it asks
/// [`classify_body`](super::ProviderPolicy::classify_body), and how long the caller waits for it.
///
/// The layer never reads or decodes more than 64 KiB. If the size or the time runs out, the policy
/// gets what has arrived as [`BodyEvidence::Partial`](super::BodyEvidence::Partial).
///
/// ```
/// use std::time::Duration;
/// use tower_key_failover::policy::{ReadLimit, Verdict};
///
/// // The first message of a stream that may begin with an error.
/// let limit = ReadLimit::first_event(16 * 1024, Duration::from_millis(500));
/// assert_ne!(Verdict::Read(limit), Verdict::Read(ReadLimit::refusal()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    until: ReadUntil,
    bytes: usize,
    time: Duration,
}

/// What ends the reading, unless size or time runs out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadUntil {
    End,
    FirstFrame,
    FirstEvent,
    /// The first event, within the layer's commit gate.
    CommitGate,
}

impl ReadLimit {
    const MAX_BYTES: usize = 64 * 1024;

    /// The whole body of a refusal, up to 64 KiB within one second.
    pub const fn refusal() -> Self {
        Self::new(ReadUntil::End, Self::MAX_BYTES, Duration::from_secs(1))
    }

    /// The first frame or the trailers, if they have already arrived. The caller does not wait.
    pub const fn available() -> Self {
        Self::first_frame(Duration::ZERO)
    }

    /// The first frame or the trailers, if they arrive within `time`.
    ///
    /// Use this only for services that respond without further messages from the caller. The client
    /// of a bidirectional stream waits for the head before it sends more.
    pub const fn first_frame(time: Duration) -> Self {
        Self::new(ReadUntil::FirstFrame, Self::MAX_BYTES, time)
    }

    /// The first server-sent event with data, up to `bytes` within `time`.
    pub const fn first_event(bytes: usize, time: Duration) -> Self {
        Self::new(ReadUntil::FirstEvent, bytes, time)
    }

    /// The first server-sent event with data, within the limits of the layer's
    /// [`commit_gate`](crate::KeyFailoverLayer::commit_gate). A layer without a commit gate reads
    /// nothing.
    pub const fn commit_gate() -> Self {
        Self::new(ReadUntil::CommitGate, 0, Duration::ZERO)
    }

    const fn new(until: ReadUntil, bytes: usize, time: Duration) -> Self {
        Self { until, bytes, time }
    }

    pub(crate) fn until(self) -> ReadUntil {
        self.until
    }

    pub(crate) fn bytes(self) -> usize {
        self.bytes.min(Self::MAX_BYTES)
    }

    pub(crate) fn time(self) -> Duration {
        self.time
    }
}
