//! How providers accept keys, and what their responses mean.
//!
//! The layer asks a [`ProviderPolicy`] about each request and response, and acts on its [`Verdict`]. A policy
//! does not know the pool or other requests. [`guides::custom_policies`](crate::guides::custom_policies) shows
//! how to customize a policy and how to write one.
//!
//! # The trust table
//!
//! A mark affects the requests of all clients, so it needs evidence. The layer and the built-in policies follow
//! these rules:
//!
//! | Response | Request | Key |
//! |---|---|---|
//! | 429 | sent again with the next key | cools down for the time that the response names, otherwise for the pool's default cooldown |
//! | 429 about this request (too large for the limit, paid extra required) | sent again with the next key | unchanged |
//! | 401, and no request has succeeded with the key since it was added or returned | sent again with the next key | permanently marked |
//! | 401, and a request has succeeded with the key | sent again with the next key | [suspected](crate::guides::recovery#suspicion) |
//! | 403 that explains itself (dead key, quota, model access, country, ...) | as the explanation requires | as the explanation requires |
//! | 403 without an explanation, or with an empty body | sent again with the next key | suspected |
//! | 403 or 429 with evidence that an edge sent it: HTML, `error code: NNNN`, or RFC 9457 with an edge's fields | response is returned | unchanged |
//! | 403 with an incomplete or unreadable body | sent again with the next key | unchanged |
//! | 403 whose caller disconnects before the body arrives | ends | unchanged |
//! | any other that a policy recognizes (an invalid key, a used-up quota) | sent again with the next key | as the [table below](#built-in-policies) says |
//! | any other | response is returned | unchanged |
//!
//! An *edge* is a CDN, a firewall or a load balancer in front of the provider. It refuses requests without
//! checking their keys.
//!
//! If the request has a [scope](crate::guides::scopes), such as a model, most 429s and all refusals of a model
//! concern only requests with that scope. [`guides::scopes`](crate::guides::scopes) lists the limits of each
//! provider.
//!
//! A policy does not know whether a request has succeeded with a key. It returns [`Mark::permanent`] for a 401. The
//! layer changes this mark to a suspicion if a request has succeeded with the key.
//!
//! # Built-in policies
//!
//! [`Provider`] has a constructor for each of these policies except [`Grpc`]. They require the feature
//! `providers`, which is on by default; `Grpc` requires the feature `grpc`.
//!
//! | Policy | The key is sent in | Marks, beyond the status | Kept or forwarded, despite the status | Wait, besides headers |
//! |---|---|---|---|---|
//! | `openai` | bearer | 429 of type `insufficient_quota`: quota | 401 for a missing scope or network: kept; 403 for a model, 429 for a request above the limit: kept; 403 for a country: forwarded | message |
//! | `anthropic` | `x-api-key` | 400 for credit or a spend limit, 402: quota; 400 `organization_on_hold`: permanent | 403 `permission_error` unless about the OAuth token, 429 for a long context: kept | message; first of the next month for `enforced_spend_limit_reached` |
//! | `azure_openai` | `api-key` | 403 for a blocked resource: quota | 401 `PermissionDenied`, 403 of a network rule: kept; 429 for high demand: forwarded | message |
//! | `gemini` | `x-goog-api-key` | 400 `API_KEY_INVALID`, 403 for a leaked key, a denied project or the terms of service: permanent; 402: quota | 403 `PERMISSION_DENIED` without a reason in the key, 401 `CREDENTIALS_MISSING`, 429 with a limit of 0: kept; 429 for shared capacity: forwarded | `RetryInfo`; midnight in Los Angeles for a quota per day |
//! | `vertex` | bearer | like `gemini`, except for the 402 | like `gemini` | like `gemini` |
//! | `bedrock` | bearer | `ServiceQuotaExceeded`, a 429 per day: quota; 403 for an invalid key or an expired token: permanent | 403 `AccessDenied`: kept; a bad signature, `ModelNotReady`: forwarded | none |
//! | `mistral` | bearer | 402: quota | 403 for a model: kept; 429 for a tier's capacity: forwarded | message |
//! | `groq` | bearer | like `openai`; 400 `organization_restricted`: permanent | 403 for a model: kept | message |
//! | `deepseek` | bearer | like `openai`; 402: quota | like `openai` | message |
//! | `openrouter` | bearer | 402, 403 with a budget: quota, or a short wait | 402 for the request: kept; 403 of moderation, terms of service or region, 429 of the provider that it forwards to: forwarded | `resets_at`, the limit's headers in the body |
//! | `cohere` | bearer | 402, a monthly 429 of a trial key: quota | 403 for a model: kept | message |
//! | `xai` | bearer | 400 for an incorrect key: permanent; 403 and 429 for credits: quota | 403 for a model: kept; 403 for content: forwarded | message |
//! | `together` | bearer | like `openai`; 402: quota | 403 for the context's length: forwarded | message |
//! | `perplexity` | bearer | like `openai` | like `openai` | message |
//! | `copilot` | | its clients bring their own token | | |
//! | `Grpc` | bearer, in metadata | status 16; 7 and 3 of a dead key: permanent; 8: its wait | status 7: kept; 8 that forbids a retry: forwarded | pushback, `RetryInfo`; midnight in Los Angeles for a quota per day |
//! | `bearer` | bearer | | | none |
//! | `header` | any header | | | none |
//!
//! *Bearer* means `authorization: Bearer <key>`. *Quota* means that credit, a plan or a budget is used up: the key
//! cools down until the reset that the response names, otherwise for
//! [`quota_cooldown`](Provider::quota_cooldown). *Kept* means that the key is unchanged and the request is sent
//! again. *Forwarded* means that the caller receives the response. *Permanent* means a permanent mark. *Message*
//! means a time in the error's message. *Pushback* is the metadata `grpc-retry-pushback-ms`, and `RetryInfo` is a
//! detail of Google's errors.
//!
//! # Waits
//!
//! The wait of a 429 is the first usable one of:
//!
//! 1. `retry-after-ms`
//! 2. `retry-after`, in seconds or as an HTTP date
//! 3. `x-amz-retry-after`, in milliseconds
//! 4. the last column of the table
//! 5. the reset header of a limit of which nothing remains, such as `x-ratelimit-reset-requests`; not for a quota,
//!    because these headers do not concern credit
//!
//! Zero, negative and unreadable values are ignored. Dates are compared with the `date` header of the response, or
//! with the local clock if there is none.
//!
//! # Customizing
//!
//! ```
//! # #[cfg(feature = "providers")] {
//! use std::time::Duration;
//! use http::{Response, StatusCode};
//! use tower_key_failover::policy::{Byok, Mark, Provider, ProviderPolicy, Verdict};
//!
//! // A 401 only starts a cooldown, and clients may send a placeholder such as `Bearer dummy`.
//! let policy = Provider::anthropic()
//!     .on_unauthorized(Verdict::Failover(Mark::temporary(Some(Duration::from_secs(300)))))
//!     .byok(Byok::prefixes(["sk-ant-"]));
//!
//! let mut response = Response::new(());
//! *response.status_mut() = StatusCode::UNAUTHORIZED;
//! assert_eq!(
//!     policy.classify(&response.into_parts().0),
//!     Verdict::Failover(Mark::temporary(Some(Duration::from_secs(300)))),
//! );
//! # }
//! ```
//!
//! [`map_verdict`](ProviderPolicy::map_verdict) adds a rule to any policy. [`Provider::named`] returns a policy by the
//! name in a configuration file.

mod delegate;
mod evidence;
mod map_verdict;
mod read_limit;
mod success;
mod verdict;

#[cfg(feature = "providers")]
mod byok;
#[cfg(feature = "providers")]
mod credentials;
#[cfg(feature = "providers")]
mod dialect;
#[cfg(feature = "providers")]
mod edge;
#[cfg(feature = "providers")]
mod error_response;
#[cfg(feature = "providers")]
mod exhausted_response;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "providers")]
mod judge;
#[cfg(feature = "providers")]
mod model_access;
#[cfg(feature = "providers")]
mod provider;
#[cfg(feature = "providers")]
mod providers;
#[cfg(feature = "providers")]
mod request_size;
#[cfg(feature = "providers")]
mod scope_in_path;
#[cfg(feature = "providers")]
mod waits;

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, request, response};

#[cfg(feature = "providers")]
pub use self::byok::Byok;
#[cfg(feature = "providers")]
pub use self::credentials::{remove_credentials, remove_query_parameters};
pub use self::evidence::BodyEvidence;
#[cfg(feature = "providers")]
pub use self::exhausted_response::exhausted_response;
#[cfg(feature = "grpc")]
pub use self::grpc::Grpc;
pub use self::map_verdict::MapVerdict;
#[cfg(feature = "providers")]
pub use self::provider::Provider;
pub use self::read_limit::ReadLimit;
pub(crate) use self::read_limit::ReadUntil;
pub use self::success::Success;
pub use self::verdict::{Mark, MarkKind, Verdict};
#[cfg(feature = "providers")]
pub use self::waits::wait_from_headers;
use crate::delegate_policy;
use crate::pool::{Exhausted, Key};
#[doc(no_inline)]
pub use crate::pool::{Reason, Scope};

/// How one provider accepts keys, refuses them, and reports errors.
///
/// One layer handles one provider. A service that uses several providers routes first, and has a
/// layer on each route.
///
/// The trait is object-safe, and implemented for `Arc` and `Box` of any policy. A policy that wraps
/// another one uses [`delegate_policy!`](crate::delegate_policy), or
/// [`map_verdict`](Self::map_verdict) if it only changes verdicts. `examples/custom_policy.rs`
/// implements a policy from scratch.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a policy",
    label = "not a `ProviderPolicy`",
    note = "use a built-in policy, such as `Provider::openai()` or `Provider::named(\"openai\")`, or implement \
            `ProviderPolicy`: see `tower_key_failover::guides::custom_policies`"
)]
pub trait ProviderPolicy: Send + Sync + 'static {
    /// Whether the request brings its own credential ("bring your own key").
    ///
    /// Such a request makes exactly one attempt. The layer adds no key, records nothing, marks nothing,
    /// and forwards the response unchanged.
    fn is_byok(&self, request: &request::Parts) -> bool;

    /// Removes every credential that the provider accepts from the request, and adds `key`.
    ///
    /// The layer calls this once for each attempt. The head never contains the key of an earlier
    /// attempt.
    fn inject_key(&self, request: &mut request::Parts, key: &Key);

    /// The scope of the request: the part of the provider, such as a model, that it addresses. `None`
    /// if it has none.
    ///
    /// The layer calls this once for each request, before the first attempt. See
    /// [`Mark::in_scope`].
    fn scope(&self, request: &request::Parts) -> Option<Scope>;

    /// Judges a response by its head.
    ///
    /// If the head is not enough, return [`Verdict::Read`]. The layer then reads some of the body
    /// and calls [`classify_body`](Self::classify_body).
    fn classify(&self, response: &response::Parts) -> Verdict;

    /// Judges a response by its head and what was read of its body, after [`Verdict::Read`].
    ///
    /// The body may be empty, incomplete or unreadable: see [`BodyEvidence`]. A mark affects every
    /// client, so a policy should not mark a key permanently on incomplete evidence.
    ///
    /// [`Verdict::Read`] from this method counts as [`Verdict::Forward`].
    fn classify_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> Verdict;

    /// Whether a forwarded response proves that its key works. For most APIs this is
    /// [`Success::of_status`].
    ///
    /// [`Verdict::Forward`] alone proves nothing: a provider may respond with 404 before it checks
    /// the key.
    fn success(&self, response: &response::Parts) -> Success;

    /// Whether the body proves that the key works.
    ///
    /// The layer calls this with the first event or the trailers, if [`success`](Self::success) returns
    /// [`Success::FirstEvent`] or [`Success::Trailers`].
    fn success_in_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> bool;

    /// The response if no key is left, in the provider's own error format.
    ///
    /// It must not contain an upstream's error body or the rate-limit headers of one key, and its
    /// status should not be 401, because clients react to a 401 by renewing their own credential.
    /// [`exhausted_response()`] builds one.
    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes>;

    /// Adds a rule on top of this policy. The rule gets the head, the body if it was read, and the
    /// final verdict of this policy, and returns the verdict that counts.
    ///
    /// The rule runs once for each response. It can ask for the body itself: if it returns
    /// [`Verdict::Read`] without a body, it is called again with one. It is not called for requests
    /// with their own credential.
    ///
    /// ```
    /// # #[cfg(feature = "providers")] {
    /// use http::{Response, StatusCode};
    /// use tower_key_failover::policy::{
    ///     BodyEvidence, Mark, Provider, ProviderPolicy, ReadLimit, Verdict,
    /// };
    ///
    /// // This upstream uses 503 when a key's share is used up, and says so in the body.
    /// let policy = Provider::bearer().map_verdict(|head, body, verdict| {
    ///     if head.status != StatusCode::SERVICE_UNAVAILABLE {
    ///         return verdict;
    ///     }
    ///     match body {
    ///         None => Verdict::Read(ReadLimit::refusal()),
    ///         Some(BodyEvidence::Complete { bytes, .. }) if bytes.starts_with(b"share used up") => {
    ///             Verdict::Failover(Mark::temporary(None))
    ///         }
    ///         Some(_) => verdict,
    ///     }
    /// });
    ///
    /// let mut response = Response::new(());
    /// *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    /// let (head, ()) = response.into_parts();
    /// assert_eq!(policy.classify(&head), Verdict::Read(ReadLimit::refusal()));
    /// assert_eq!(
    ///     policy.classify_body(&head, &BodyEvidence::complete(b"share used up")),
    ///     Verdict::Failover(Mark::temporary(None)),
    /// );
    /// # }
    /// ```
    fn map_verdict<F>(self, rule: F) -> MapVerdict<Self, F>
    where
        Self: Sized,
        F: Fn(&response::Parts, Option<&BodyEvidence<'_>>, Verdict) -> Verdict
            + Send
            + Sync
            + 'static,
    {
        MapVerdict::new(self, rule)
    }
}

impl<P: ProviderPolicy + ?Sized> ProviderPolicy for Arc<P> {
    delegate_policy!(|self| (**self) =>
        is_byok, inject_key, scope, classify, classify_body, success, success_in_body,
        exhausted_response);
}

impl<P: ProviderPolicy + ?Sized> ProviderPolicy for Box<P> {
    delegate_policy!(|self| (**self) =>
        is_byok, inject_key, scope, classify, classify_body, success, success_in_body,
        exhausted_response);
}
