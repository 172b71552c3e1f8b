use smallvec::SmallVec;

use crate::pool::{Cause, Key, Scope, ScopeDoubt, Suspicion};

/// The keys that a request suspects: each was refused, but perhaps because of the request.
#[derive(Default)]
pub(super) struct Suspicions {
    keys: SmallVec<[(Key, Suspicion, Cause); 1]>,
    /// Keys that may not use the scope of the request.
    scopes: Vec<(ScopeDoubt, Cause)>,
}

impl Suspicions {
    /// After this many suspicions, the request tries no other key.
    const MAX: usize = 3;

    pub(super) fn add(&mut self, key: &Key, cause: Cause) {
        let suspicion = key.suspect(cause);
        self.keys.push((key.clone(), suspicion, cause));
    }

    /// The key was refused access to a scope.
    pub(super) fn add_scope(&mut self, key: &Key, scope: &Scope, cause: Cause) {
        let doubt = key.doubt_scope(scope);
        self.scopes.extend(doubt.map(|doubt| (doubt, cause)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.scopes.is_empty()
    }

    /// Whether the request suspects so many keys that it is probably at fault itself.
    pub(super) fn is_full(&self) -> bool {
        self.keys.len() >= Self::MAX
    }

    /// Marks the suspected keys permanently, because the request succeeded with the key `by`. The
    /// refusals were therefore not its fault.
    pub(super) fn convict(&mut self, by: &Key) {
        let suspected = self.keys.drain(..);
        for (key, suspicion, cause) in suspected.filter(|(key, ..)| !key.is_same(by)) {
            key.convict(suspicion, cause);
        }
        let refused = self.scopes.drain(..);
        for (doubt, cause) in refused.filter(|(doubt, _)| !doubt.is_about(by)) {
            doubt.convict(cause);
        }
    }
}
