//! The response to a request for which no key is left, with its `retry-after`.

use http::Response;
use http_body::Body;

use super::Exchange;
use crate::failover::info::Outcome;
use crate::failover::response_body::{BodyKind, ResponseBody};
use crate::failover::tried_keys;
use crate::policy::ProviderPolicy;

impl<S, P: ProviderPolicy, B> Exchange<S, P, B> {
    /// Responds to the caller in the provider's format.
    ///
    /// `retry-after` is the time until the first key returns. Keys that refused this request without
    /// being marked do not count, because they would refuse it again.
    pub(crate) fn exhausted<R: Body>(&mut self) -> Response<ResponseBody<R>> {
        let _inside = self.enter();
        let exhausted = self
            .pool()
            .exhausted(self.choice(), tried_keys::kept(self.refused()));
        self.pool().emit_exhausted(exhausted);
        let mut response = self.config.policy.exhausted_response(&exhausted);
        let info = self.finish(None, Outcome::Exhausted, response.status());
        response.extensions_mut().insert(info.clone());
        response.map(|data| BodyKind::Own { data }.with_failover(info))
    }
}
