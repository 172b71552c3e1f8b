//! The span that replaces logs without the feature `tracing`: it records nothing.

use http::StatusCode;

use crate::failover::{ExchangeSpan, Outcome};

#[derive(Default)]
pub(crate) struct Trace;

pub(crate) struct Entered;

#[allow(clippy::unused_self)]
impl ExchangeSpan for Trace {
    type Entered = Entered;

    const IS_RECORDED: bool = false;

    #[inline]
    fn begin(&mut self, _pool: &str) -> Option<Entered> {
        None
    }

    #[inline]
    fn enter(&self) -> Option<Entered> {
        None
    }

    #[inline]
    fn on_attempt(&mut self, _number: usize) {}

    #[inline]
    fn end(self, _status: StatusCode, _outcome: Outcome) {}
}
