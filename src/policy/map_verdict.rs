use std::fmt;

use http::response;

use super::{BodyEvidence, ProviderPolicy, Verdict};
use crate::delegate_policy;

/// A policy with a rule on top, made by [`ProviderPolicy::map_verdict`].
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
    F: Fn(&response::Parts, Option<&BodyEvidence<'_>>, Verdict) -> Verdict + Send + Sync + 'static,
{
    delegate_policy!(|self| self.policy =>
        is_byok, inject_key, scope, success, success_in_body, exhausted_response);

    fn classify(&self, response: &response::Parts) -> Verdict {
        match self.policy.classify(response) {
            // Not final: the policy needs the body first.
            verdict @ Verdict::Read(_) => verdict,
            verdict => (self.rule)(response, None, verdict),
        }
    }

    fn classify_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        let verdict = self.policy.classify_body(response, body).or_forward();
        (self.rule)(response, Some(body), verdict).or_forward()
    }
}

impl<P: fmt::Debug, F> fmt::Debug for MapVerdict<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapVerdict")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
