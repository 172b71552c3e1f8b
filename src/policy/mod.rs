//! What a provider means: how it carries a key, how it says "it is the key", and what a caller
//! is told when no key is left.
//!
//! The layer asks a [`ProviderPolicy`] and acts on its [`Verdict`]; a policy knows nothing of the
//! pool, of time, or of other requests.

mod evidence;
mod verdict;

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, request, response};

pub use self::evidence::BodyEvidence;
pub(crate) use self::verdict::MarkKind;
pub use self::verdict::{Mark, Reason, Verdict};
use crate::pool::{Exhausted, Key};

/// One provider's dialect.
///
/// One layer speaks one dialect: where a service talks to several providers, route first, then
/// stack a layer on each route.
///
/// The trait is object-safe, and implemented for `Arc` and `Box` of any policy.
pub trait ProviderPolicy: Send + Sync + 'static {
    /// Whether the request brings a credential of its own ("bring your own key").
    ///
    /// Such a request makes exactly one attempt: nothing is injected, nothing is recorded,
    /// nothing is marked, and the answer is forwarded untouched.
    fn is_byok(&self, request: &request::Parts) -> bool;

    /// Puts `key` into the request, having removed every credential the provider accepts.
    ///
    /// Called once for each attempt, on a head that holds no credential of an earlier one.
    fn inject_key(&self, request: &mut request::Parts, key: &Key);

    /// Judges an answer from its head alone.
    ///
    /// Where the head is not enough, [`Verdict::Inspect`] or [`Verdict::Peek`] has the layer show
    /// some of the body to [`classify_body`](Self::classify_body).
    fn classify(&self, response: &response::Parts) -> Verdict;

    /// Judges an answer with what was read of its body, after `Inspect` or `Peek`.
    ///
    /// `Inspect` or `Peek` out of this method counts as [`Verdict::Forward`].
    fn classify_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> Verdict;

    /// What the caller is told when no key is left, in the provider's own shape.
    ///
    /// It never carries an upstream's error body or one key's rate-limit headers, and never says
    /// 401: a client would renew *its* credential.
    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes>;
}

macro_rules! delegate {
    ($pointer:ident) => {
        impl<P: ProviderPolicy + ?Sized> ProviderPolicy for $pointer<P> {
            fn is_byok(&self, request: &request::Parts) -> bool {
                (**self).is_byok(request)
            }

            fn inject_key(&self, request: &mut request::Parts, key: &Key) {
                (**self).inject_key(request, key);
            }

            fn classify(&self, response: &response::Parts) -> Verdict {
                (**self).classify(response)
            }

            fn classify_body(
                &self,
                response: &response::Parts,
                body: &BodyEvidence<'_>,
            ) -> Verdict {
                (**self).classify_body(response, body)
            }

            fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
                (**self).exhausted_response(exhausted)
            }
        }
    };
}

delegate!(Arc);
delegate!(Box);
