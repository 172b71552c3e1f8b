//! What there is of logs without the feature.

use http::StatusCode;

use crate::failover::Outcome;

#[derive(Default)]
pub(crate) struct Trace;

pub(crate) struct Entered;

#[allow(clippy::unused_self)]
impl Trace {
    #[inline]
    pub(crate) fn begin(&mut self, _pool: &str) -> Option<Entered> {
        None
    }

    #[inline]
    pub(crate) fn enter(&self) -> Option<Entered> {
        None
    }

    #[inline]
    pub(crate) fn attempt(&mut self, _number: usize) {}

    #[inline]
    pub(crate) fn end(self, _status: StatusCode, _outcome: Outcome) {}
}
