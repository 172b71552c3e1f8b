use std::time::Duration;

/// The state of the sharing at one moment, for status pages, health checks and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharingStatus {
    /// Whether the pool is connected to its replicas.
    pub state: SharingState,
    /// What the server or the connection last reported, while something is wrong.
    pub problem: Option<String>,
    /// Whether the server pushes changes to this replica. If not, the replica asks every 3 to 5 seconds.
    pub is_subscribed: bool,
    /// How long the oldest change of this replica has been waiting to be sent. Zero if none does.
    pub lag: Duration,
    /// The number of records that the server should have, but does not have yet.
    pub pending: usize,
    /// The number of records that this replica sent since it started.
    pub published: u64,
    /// The number of records of other replicas that changed something here.
    pub applied: u64,
    /// The number of records that the server refused, because it was read-only or out of memory, for
    /// example. They are sent again.
    pub rejected: u64,
    /// The number of times that the connection was lost or could not be made.
    pub outages: u64,
    /// The number of commands that this replica sent.
    pub commands: u64,
}

/// Whether a pool is connected to its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SharingState {
    /// The first connection has not been made yet.
    Connecting,
    /// Changes are exchanged.
    Connected,
    /// The server is connected, but refuses what it is asked. The status names the problem.
    Refused,
    /// The server cannot be reached. The replica continues with what it knows.
    Disconnected,
    /// The future that shares the pool was dropped.
    Stopped,
}

impl SharingState {
    /// Returns the state as one word: `connected`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::Disconnected => "disconnected",
            Self::Stopped => "stopped",
        }
    }
}

impl SharingStatus {
    pub(crate) const fn new() -> Self {
        Self {
            state: SharingState::Connecting,
            problem: None,
            is_subscribed: false,
            lag: Duration::ZERO,
            pending: 0,
            published: 0,
            applied: 0,
            rejected: 0,
            outages: 0,
            commands: 0,
        }
    }
}
