/// Why an attempt used its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PickedBy {
    /// It was the pool's first choice of the keys that were left: see
    /// [`Selection`](crate::pool::Selection).
    Selection,
    /// It was the first choice for the request's session: see
    /// [`KeyChoice::affinity`](crate::pool::KeyChoice::affinity).
    Affinity,
    /// The request requires the key or its group: see
    /// [`KeyChoice::pin_key`](crate::pool::KeyChoice::pin_key).
    Pin,
    /// The key was unusable or suspected, and the attempt was to find out whether it works: see
    /// [probes](crate::guides::recovery#probes).
    Probe,
}

impl PickedBy {
    pub(super) const ALL: [Self; 4] = [Self::Selection, Self::Affinity, Self::Pin, Self::Probe];

    /// Returns the name for logs: `selection`, `affinity`, `pin` or `probe`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Selection => "selection",
            Self::Affinity => "affinity",
            Self::Pin => "pin",
            Self::Probe => "probe",
        }
    }
}
