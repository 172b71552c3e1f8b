//! A success clears the suspicion of its key, convicts the keys that the request suspects, and ends a
//! probe. Some responses succeed only with their first event or their trailers.

use bytes::Bytes;
use http::response;
use http_body::Body;

use super::{Exchange, scope_in};
use crate::failover::late_success::LateSuccess;
use crate::failover::response_body::BodyKind;
use crate::failover::suspicions::Suspicions;
use crate::policy::{ProviderPolicy, Success};
use crate::pool::{Key, Probe, Scope};

/// What a success, or its absence, decides.
pub(in crate::failover) struct Pending {
    key: Key,
    scope: Option<Scope>,
    suspicions: Suspicions,
    probe: Option<Box<Probe>>,
}

impl Pending {
    pub(in crate::failover) fn decide(mut self, is_success: bool) {
        match (self.probe, is_success) {
            (Some(probe), true) => probe.succeeded(),
            (Some(probe), false) => probe.inconclusive(),
            (None, true) => self.key.succeed(self.scope.as_ref()),
            (None, false) => {}
        }
        if is_success {
            self.suspicions.convict(&self.key);
        }
    }
}

impl<S, P: ProviderPolicy, B> Exchange<S, P, B> {
    /// Records that a response is forwarded. Returns what its body still has to decide.
    pub(super) fn record_forwarded<R>(
        &mut self,
        head: &response::Parts,
        body: &BodyKind<R>,
    ) -> Option<LateSuccess>
    where
        R: Body<Data = Bytes>,
    {
        let policy = &self.config.policy;
        let current = self.current.as_mut().expect("an attempt has a key");
        current.key.record_served();
        let success = policy.success(head);
        let progress = self.progress.as_deref();
        let has_suspicions = progress.is_some_and(|progress| !progress.suspicions.is_empty());
        if success == Success::Yes && !has_suspicions && current.probe.is_none() {
            // The usual case.
            current.key.succeed(scope_in(&self.progress));
            return None;
        }
        let is_late = matches!(success, Success::FirstEvent | Success::Trailers);
        let pending = Pending {
            key: current.key.clone(),
            scope: scope_in(&self.progress).cloned(),
            suspicions: self
                .progress
                .as_mut()
                .map(|progress| std::mem::take(&mut progress.suspicions))
                .unwrap_or_default(),
            probe: current.probe.take(),
        };
        if !is_late {
            pending.decide(success == Success::Yes);
            return None;
        }
        if let BodyKind::Inspected { body } = body {
            let policy = &self.config.policy;
            if body.show(&head.headers, |body| policy.success_in_body(head, body)) {
                pending.decide(true);
                return None;
            }
        }
        Some(LateSuccess::new(
            success,
            pending,
            policy.clone(),
            copy(head),
        ))
    }
}

/// Copies what a policy needs of a head that goes to the caller.
fn copy(head: &response::Parts) -> response::Parts {
    let (mut copy, ()) = http::Response::new(()).into_parts();
    copy.status = head.status;
    copy.version = head.version;
    copy.headers.clone_from(&head.headers);
    copy
}
