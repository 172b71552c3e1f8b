use std::time::Duration;

/// What a mark changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Marked {
    /// The key's state is another one now: it was valid and is out, or was out for a time and is
    /// out for good.
    Transitioned,
    /// The key was out already, and is out for longer now.
    Extended,
    /// Nothing: the key was out for as long already, or the handle is older than the key's return
    /// to service.
    Unchanged,
}

/// Whether a key may be used, as of the moment it was asked. The longer it is out, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// The key may be used.
    Valid,
    /// The key is out for a while.
    Temporary {
        /// How long until it may be used again, in whole milliseconds; never zero.
        retry_after: Duration,
    },
    /// The key is out for good.
    Permanent,
}
