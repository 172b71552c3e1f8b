//! Removes a caller's credential from request trailers.
//!
//! Trailers arrive after the policy has injected a key into the head. If they were forwarded
//! unchanged, the request could carry a second credential.

use http::{HeaderMap, Request};

use crate::policy::ProviderPolicy;
use crate::pool::Key;

/// Removes each trailer that the policy would remove or replace if it were a header.
pub(super) fn remove_credentials(trailers: &mut HeaderMap, policy: &dyn ProviderPolicy, key: &Key) {
    let (mut head, ()) = Request::new(()).into_parts();
    head.headers = std::mem::take(trailers);
    let before = head.headers.clone();
    policy.inject_key(&mut head, key);
    for name in before.keys() {
        let (old, new) = (before.get_all(name), head.headers.get_all(name));
        if old == new {
            trailers.extend(old.iter().map(|value| (name.clone(), value.clone())));
        }
    }
}
