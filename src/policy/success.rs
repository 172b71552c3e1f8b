use http::StatusCode;

/// Where a forwarded response proves that its key works.
///
/// A success clears the suspicions of a key. If the attempt is a probe, the key returns to service.
/// See [`ProviderPolicy::success`](super::ProviderPolicy::success).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Success {
    /// The head proves that the key works.
    Yes,
    /// The response proves nothing.
    No,
    /// The first event of the stream decides. The layer calls
    /// [`success_in_body`](super::ProviderPolicy::success_in_body) with it.
    FirstEvent,
    /// The trailers decide. The layer calls
    /// [`success_in_body`](super::ProviderPolicy::success_in_body) with them.
    Trailers,
}

impl Success {
    /// The rule for most APIs: a 2xx or 101 is a success.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_key_failover::policy::Success;
    ///
    /// assert_eq!(Success::of_status(StatusCode::OK), Success::Yes);
    /// assert_eq!(Success::of_status(StatusCode::NOT_FOUND), Success::No);
    /// ```
    pub fn of_status(status: StatusCode) -> Self {
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            Self::Yes
        } else {
            Self::No
        }
    }
}
