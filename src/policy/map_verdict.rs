use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, request, response};

use super::{BodyEvidence, ProviderPolicy, Success, Verdict};
use crate::pool::{Exhausted, Key};

/// A policy with a user's own rule on top, made by [`ProviderPolicy::map_verdict`].
#[derive(Clone)]
pub struct MapVerdict<P, F> {
    policy: P,
    rule: F,
}

impl<P, F> MapVerdict<P, F> {
    pub(super) fn new(policy: P, rule: F) -> Self {
        Self { policy, rule }
    }
}

impl<P, F> ProviderPolicy for MapVerdict<P, F>
where
    P: ProviderPolicy,
    F: Fn(&response::Parts, Verdict) -> Verdict + Send + Sync + 'static,
{
    fn is_byok(&self, request: &request::Parts) -> bool {
        self.policy.is_byok(request)
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        self.policy.inject_key(request, key);
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        match self.policy.classify(response) {
            // Not final: the body is to be asked first.
            verdict @ (Verdict::Inspect | Verdict::Peek) => verdict,
            verdict => (self.rule)(response, verdict).or_forward(),
        }
    }

    fn classify_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        let verdict = self.policy.classify_body(response, body).or_forward();
        (self.rule)(response, verdict).or_forward()
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        self.policy.exhausted_response(exhausted)
    }

    fn success(&self, response: &response::Parts) -> Success {
        self.policy.success(response)
    }

    fn success_in_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> bool {
        self.policy.success_in_body(response, body)
    }

    fn peek_timeout(&self) -> Duration {
        self.policy.peek_timeout()
    }

    fn may_fail_late(&self, response: &response::Parts) -> bool {
        self.policy.may_fail_late(response)
    }
}

impl<P: fmt::Debug, F> fmt::Debug for MapVerdict<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapVerdict")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
