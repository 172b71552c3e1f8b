//! What a provider means: how it carries a key, how it says "it is the key", and what a caller
//! is told when no key is left.
//!
//! The layer asks a [`ProviderPolicy`] and acts on its [`Verdict`]; a policy knows nothing of the
//! pool or of other requests, and how long a key has been out is not its business.
//!
//! # The built-in policies
//!
//! They stand behind the feature `providers`, which is on by default; `Grpc` behind `grpc`. By
//! status alone, **429 puts a key out for a while, 401 and 403 for good, and everything else is
//! forwarded**. What the answer says beyond that refines the verdict; what it does not say, or what
//! cannot be read, changes nothing. A 403 in HTML comes from an edge in front of the provider, and
//! is forwarded.
//!
//! | Policy | Key travels in | The key's failure, beyond the status | Kept or forwarded, against the status | Wait, beyond the headers |
//! |---|---|---|---|---|
//! | `openai` | bearer | 429 of type `insufficient_quota`: quota | 401 for a missing scope or network: kept; 403 for a model: kept; 403 for a country: forwarded | message |
//! | `anthropic` | `x-api-key` | 400 for credit or a spend limit, 402: quota; 400 `organization_on_hold`: for good | 403 `permission_error`: kept, unless about the OAuth token | message; first of the next month for `enforced_spend_limit_reached` |
//! | `azure_openai` | `api-key` | 403 for a blocked resource: quota | 401 `PermissionDenied`, 403 of a network rule: kept; 429 for high demand: forwarded | message |
//! | `gemini` | `x-goog-api-key` | 400 `API_KEY_INVALID`: for good; 402: quota | 403 `PERMISSION_DENIED` without a reason in the key: kept; 429 for shared capacity: forwarded | `RetryInfo`; midnight in Los Angeles for a quota per day |
//! | `vertex` | bearer | as `gemini`, but for the 402 | as `gemini` | as `gemini` |
//! | `bedrock` | bearer | `ServiceQuotaExceeded`, a 429 per day: quota | 403 `AccessDenied`: kept; a signature, `ModelNotReady`: forwarded | none |
//! | `mistral` | bearer | 402: quota | 403 for a model: kept; 429 for a tier's capacity: forwarded | message |
//! | `groq` | bearer | as `openai`; 400 `organization_restricted`: for good | 403 for a model: kept | message |
//! | `deepseek` | bearer | as `openai`; 402: quota | as `openai` | message |
//! | `openrouter` | bearer | 402, 403 with a budget: quota, or a short wait | 403 of moderation, 402 for the request, 429 of the provider behind it: forwarded | `resets_at`, the limit's headers in the body |
//! | `cohere` | bearer | 402, a trial's 429 per month: quota | | message |
//! | `xai` | bearer | 400 for an incorrect key: for good; 403 and 429 for credits: quota | 403 for a model: kept; 403 for content: forwarded | message |
//! | `together` | bearer | as `openai`; 402: quota | 403 for the context's length: forwarded | message |
//! | `perplexity` | bearer | as `openai` | as `openai` | message |
//! | `copilot` | | its clients bring their own token: never asked | | |
//! | `Grpc` | bearer, in metadata | status 16; 7 and 3 of a dead key: for good; 8: its wait | status 7: kept; 8 that forbids to try again: forwarded | pushback, `RetryInfo`; midnight in Los Angeles for a quota per day |
//! | `bearer` | bearer | | | none |
//! | `header` | any header | | | none |
//!
//! "Bearer" is `authorization: Bearer <key>`. "Quota" is credit, plan or budget that is used up:
//! the key is out until the reset that the answer names, else for
//! [`quota_cooldown`](Provider::quota_cooldown).
//!
//! The wait is the first usable of: `retry-after-ms`; `retry-after` (seconds or an HTTP date);
//! `x-amz-retry-after`; what the last column names; the reset header of a bucket whose remaining is
//! 0 (not for a quota, which is no bucket). Zero, negative and unreadable values are passed over.
//! Moments are measured against the answer's own `date`, and only without one against the clock
//! here.
//!
//! What is not as one wishes can be changed for each:
//!
//! ```
//! # #[cfg(feature = "providers")] {
//! use std::time::Duration;
//! use http::{Response, StatusCode};
//! use tower_key_failover::policy::{Byok, Mark, Provider, ProviderPolicy, Verdict};
//!
//! // A burst of 401s is to cost no key, and some clients send `Bearer dummy`.
//! let policy = Provider::anthropic()
//!     .on_unauthorized(Verdict::Failover(Mark::temporary(Some(Duration::from_secs(300)))))
//!     .byok(Byok::prefixes(["sk-ant-"]));
//!
//! let mut answer = Response::new(());
//! *answer.status_mut() = StatusCode::UNAUTHORIZED;
//! assert_eq!(
//!     policy.classify(&answer.into_parts().0),
//!     Verdict::Failover(Mark::temporary(Some(Duration::from_secs(300)))),
//! );
//! # }
//! ```
//!
//! [`map_verdict`](ProviderPolicy::map_verdict) puts a rule of one's own on top of any policy, and
//! [`Provider::named`] finds one by its name in a configuration file.

mod evidence;
mod map_verdict;
mod success;
mod verdict;

#[cfg(feature = "providers")]
mod byok;
#[cfg(feature = "providers")]
mod credentials;
#[cfg(feature = "providers")]
mod dialect;
#[cfg(feature = "providers")]
mod error_response;
#[cfg(feature = "providers")]
mod exhausted_response;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "providers")]
mod judge;
#[cfg(feature = "providers")]
mod provider;
#[cfg(feature = "providers")]
mod providers;
#[cfg(feature = "providers")]
mod waits;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, request, response};

#[cfg(feature = "providers")]
pub use self::byok::Byok;
pub use self::evidence::BodyEvidence;
#[cfg(feature = "grpc")]
pub use self::grpc::Grpc;
pub use self::map_verdict::MapVerdict;
#[cfg(feature = "providers")]
pub use self::provider::Provider;
pub use self::success::Success;
pub use self::verdict::{Mark, MarkKind, Verdict};
#[doc(no_inline)]
pub use crate::pool::Reason;
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

    /// Whether a forwarded response proves that its key works. Default: a 2xx or 101 does.
    ///
    /// [`Verdict::Forward`] alone proves nothing: a 404 may come before the key is checked.
    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    /// Whether the body proves that the key works, where [`success`](Self::success) is
    /// [`Success::FirstEvent`] or [`Success::Trailers`]. Default: if
    /// [`classify_body`](Self::classify_body) forwards it.
    fn success_in_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> bool {
        self.classify_body(response, body) == Verdict::Forward
    }

    /// How long [`Verdict::Peek`] may wait for the first frame or the trailers. Default: not at
    /// all.
    ///
    /// Only for services known to answer without hearing more of the caller: a client of a
    /// bidirectional stream waits for the head before it speaks.
    fn peek_timeout(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether an answer that its head alone forwards may still turn out to be a refusal in the
    /// first event of its stream. Default: no.
    ///
    /// Asked only where the layer has a
    /// [`commit_gate`](crate::KeyFailoverLayer::commit_gate); the stream so far is then shown to
    /// [`classify_body`](Self::classify_body).
    fn may_fail_late(&self, response: &response::Parts) -> bool {
        let _ = response;
        false
    }

    /// This policy with a rule of one's own on top, which sees each answer's head and final
    /// verdict once, and says what is to count instead.
    ///
    /// A verdict is final where nothing is left to ask: [`Verdict::Inspect`] and [`Verdict::Peek`]
    /// never reach the rule, and out of it they count as [`Verdict::Forward`]. Nobody is asked of
    /// an answer to a request with its own credential, or of one that was peeked at in vain.
    ///
    /// ```
    /// # #[cfg(feature = "providers")] {
    /// use http::{Response, StatusCode};
    /// use tower_key_failover::policy::{Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // This upstream says 503 when a key's share of it is used up.
    /// let policy = Provider::bearer().map_verdict(|head, verdict| match head.status {
    ///     StatusCode::SERVICE_UNAVAILABLE => Verdict::Failover(Mark::temporary(None)),
    ///     _ => verdict,
    /// });
    ///
    /// let mut answer = Response::new(());
    /// *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    /// let (head, ()) = answer.into_parts();
    /// assert_eq!(policy.classify(&head), Verdict::Failover(Mark::temporary(None)));
    /// # }
    /// ```
    fn map_verdict<F>(self, rule: F) -> MapVerdict<Self, F>
    where
        Self: Sized,
        F: Fn(&response::Parts, Verdict) -> Verdict + Send + Sync + 'static,
    {
        MapVerdict::new(self, rule)
    }
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

            fn success(&self, response: &response::Parts) -> Success {
                (**self).success(response)
            }

            fn success_in_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> bool {
                (**self).success_in_body(response, body)
            }

            fn peek_timeout(&self) -> Duration {
                (**self).peek_timeout()
            }

            fn may_fail_late(&self, response: &response::Parts) -> bool {
                (**self).may_fail_late(response)
            }
        }
    };
}

delegate!(Arc);
delegate!(Box);
