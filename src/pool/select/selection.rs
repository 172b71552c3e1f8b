//! The strategies that a pool can use.

use std::fmt;

/// How a pool chooses among its usable keys.
///
/// A strategy ranks keys and never excludes one: a request uses the best-ranked usable key that it has
/// not tried. Suspicions and [tiers](crate::pool::NewKey::tier) come before every strategy. The guide
/// to [selection](crate::guides::selection) says which strategy to use when.
///
/// ```
/// use tower_key_failover::pool::{KeyPool, Selection};
///
/// # fn main() -> Result<(), tower_key_failover::pool::BuildError> {
/// let pool = KeyPool::builder()
///     .key("sk-first-0123456789ab")
///     .key("sk-second-0123456789")
///     .selection(Selection::round_robin())
///     .build()?;
///
/// assert_eq!(pool.selection().as_str(), "round-robin");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Selection(Strategy);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Strategy {
    InOrder,
    RoundRobin,
    Weighted,
    LeastInFlight,
}

impl Selection {
    /// Uses the first usable key in the pool's order: a primary key and its spares. The default.
    pub fn in_order() -> Self {
        Self(Strategy::InOrder)
    }

    /// Uses the keys in turn, whatever their weights.
    pub fn round_robin() -> Self {
        Self(Strategy::RoundRobin)
    }

    /// Uses the keys in turn, in proportion to their [weights](crate::pool::NewKey::weight). The turns
    /// of a key are spread evenly. If a key is unusable, the other keys share its turns in proportion
    /// to their weights.
    pub fn weighted() -> Self {
        Self(Strategy::Weighted)
    }

    /// Uses the key with the fewest requests in flight in proportion to its
    /// [weight](crate::pool::NewKey::weight). Keys with equally many take turns as in
    /// [`weighted`](Self::weighted).
    ///
    /// A request is in flight until its response body has ended or been dropped.
    pub fn least_in_flight() -> Self {
        Self(Strategy::LeastInFlight)
    }

    /// Returns the strategy with the given [name](Self::as_str), for configuration files.
    ///
    /// ```
    /// use tower_key_failover::pool::Selection;
    ///
    /// let selection = Selection::named("least-in-flight");
    /// assert_eq!(selection, Some(Selection::least_in_flight()));
    /// assert_eq!(Selection::named("random"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Strategy::ALL.into_iter().map(Self);
        all.find(|selection| selection.as_str() == name)
    }

    /// Returns the name of the strategy: `in-order`, `round-robin`, `weighted` or `least-in-flight`.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            Strategy::InOrder => "in-order",
            Strategy::RoundRobin => "round-robin",
            Strategy::Weighted => "weighted",
            Strategy::LeastInFlight => "least-in-flight",
        }
    }

    pub(super) fn strategy(self) -> Strategy {
        self.0
    }

    /// Whether every key needs a counter of its requests in flight.
    pub(in crate::pool) fn counts_in_flight(self) -> bool {
        self.0 == Strategy::LeastInFlight
    }
}

impl Strategy {
    const ALL: [Self; 4] = [
        Self::InOrder,
        Self::RoundRobin,
        Self::Weighted,
        Self::LeastInFlight,
    ];
}

impl Default for Selection {
    fn default() -> Self {
        Self::in_order()
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
