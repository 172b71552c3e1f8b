//! Tower middleware that fails over between API keys.
//!
//! A service that calls a provider (Anthropic, OpenAI, Gemini, or any other HTTP or gRPC API) often
//! has several API keys. When the provider refuses a request *because of its key*, for example with
//! 429 or 401, [`KeyFailoverLayer`] marks the key in a shared [`KeyPool`] and sends the request again
//! with the next key. Requests use other keys until a marked key returns to service. The caller receives a
//! single response.
//!
//! ```
//! # #[cfg(not(feature = "providers"))] fn main() {}
//! # #[cfg(feature = "providers")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use http::Request;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_key_failover::{KeyFailoverLayer, KeyPool, policy::Provider};
//! # type Body = http_body_util::Full<bytes::Bytes>;
//! # // Refuses the first key.
//! # let client = tower::service_fn(|request: Request<tower_key_failover::RequestBody<Body>>| async move {
//! #     let refused = request.headers()["x-api-key"] == "sk-ant-first";
//! #     let response = match refused {
//! #         true => http::Response::builder().status(429).header("retry-after", "5"),
//! #         false => http::Response::builder().status(200),
//! #     };
//! #     response.body(Body::default())
//! # });
//! # let body = Body::from("{}");
//!
//! let pool = KeyPool::builder()
//!     .key("sk-ant-first") // is tried first
//!     .key("sk-ant-second")
//!     .exponential_cooldown(Duration::from_secs(1)..=Duration::from_secs(60))
//!     .build()?;
//!
//! let service = ServiceBuilder::new()
//!     .layer(KeyFailoverLayer::new(Provider::anthropic(), pool))
//!     .service(client); // for example hyper-util's `Client`
//!
//! // The provider responds to the first key with 429, and to the second with 200.
//! let request = Request::post("https://api.anthropic.com/v1/messages").body(body)?;
//! let response = service.oneshot(request).await?;
//!
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.body().failover().unwrap().attempts(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # What a response does
//!
//! A [policy] knows how a provider accepts a key and what its responses mean. The built-in policies follow this
//! table, with exceptions for some providers. The times are defaults.
//!
//! | Response | Request | Key |
//! |---|---|---|
//! | 429 | sent again with the next key | cools down for the time that the response names, otherwise for 60 s |
//! | 429 about this request, such as one that is too large | sent again with the next key | unchanged |
//! | 429 because the provider is overloaded | response is returned | unchanged |
//! | a used-up quota, such as a 402 of a provider that documents it for this | sent again with the next key | cools down until the quota resets, otherwise for 1 h |
//! | 401 | sent again with the next key | permanently marked; only suspected if a request has succeeded with it before |
//! | an invalid key with another status (Gemini: 400) | sent again with the next key | permanently marked |
//! | 403 that names its cause | as the cause requires | as the cause requires |
//! | 403 without an explanation | sent again with the next key | suspected |
//! | 403 with an incomplete body | sent again with the next key | unchanged |
//! | 403 or 429 from a CDN or firewall in front of the provider | response is returned | unchanged |
//! | any other | response is returned | unchanged |
//! | none (transport error) | fails | unchanged |
//!
//! A mark affects all requests, so it needs evidence. A refusal that may be the fault of the request only makes
//! the key *suspected*: it stays usable, but requests try other keys first. One success clears it. A
//! permanently marked key is *probed* from time to time: one of the callers' requests uses it. The key returns
//! with the first success. See [`guides::recovery`].
//!
//! What a policy can tell apart depends on the provider. The [`policy`] module lists what each of them does.
//!
//! If the layer knows the model that a request addresses, most 429s and all refusals of a model concern only
//! requests for that model. See [`guides::scopes`].
//!
//! A request tries the keys in the order of the pool or of another [strategy](guides::selection), suspected keys
//! last. It tries a key again only if the key was rate-limited and its cooldown has ended. If no key is left, the
//! caller receives an error in the provider's own format. Its status is 429 if a key will return by itself, with a
//! `retry-after` header if the time is known. Otherwise, it is 502. If the last refusal leaves its key unchanged or
//! suspected, the caller receives that refusal instead, unless it is a 401 that made the key suspected.
//!
//! A request that brings its own credential ("bring your own key", BYOK) is sent once and unchanged, and
//! marks no key. By default, this is any request with a credential in a place where the provider accepts one;
//! [`policy::Byok`] changes this. If your clients authenticate with tokens of your own, an outer layer must remove
//! them.
//!
//! Bodies stream in both directions. The layer records the request body as it passes, as long as
//! another key could follow. [`max_replay_bytes`](KeyFailoverLayer::max_replay_bytes) limits one
//! recording, and [`ReplayBudget`] limits all of them together. A larger body is sent only once.
//!
//! # Features
//!
//! | Feature | Adds | Crates |
//! |---|---|---|
//! | `providers` (default) | the built-in [policies](policy), and [`ModelScopeLayer`] | 6 |
//! | `decompress` (default) | decoders for compressed error bodies: gzip, deflate, brotli and zstd | 10 |
//! | `grpc` | [`policy::Grpc`], the policy for gRPC services; enables `providers` | 16 |
//! | `tracing` | [spans and events](guides::observability#logs) for requests that fail over | 3 |
//! | `metrics` | [counters, gauges and histograms](guides::observability#metrics), and [`KeyPool::record_metrics`] | 2 |
//! | `events` | [`KeyPool::subscribe`], a stream of changes to a pool | 3 |
//! | `serde` | [`KeyPool::save`] and [`KeyPool::restore`], which keep a pool's state across restarts | 15 |
//!
//! The last column is the number of crates that a feature adds to the 18 that are compiled without features,
//! including this one. Features can share crates. Without features, the crate consists of the pool, the layer
//! and the [`ProviderPolicy`] trait. Without `decompress`, policies cannot read compressed error bodies.
//!
//! # Guides
//!
//! - [`guides::recovery`]: cooldowns, suspicion, probes, waiting for a key, groups, and changing a pool at run time
//! - [`guides::scopes`]: limits per model
//! - [`guides::selection`]: which key a request uses: strategies, tiers, affinity, pins and caps
//! - [`guides::stacks`]: layer order, and use with axum, hyper, tonic, reqwest and others
//! - [`guides::compile_errors`]: what the compiler says if a stack does not compile
//! - [`guides::sdks`]: provider SDKs, and the placeholder keys that they send
//! - [`guides::testing`]: scripted providers, and paused time
//! - [`guides::observability`]: snapshots, events, metrics and logs
//! - [`guides::websocket`]: proxying WebSocket
//! - [`guides::custom_policies`]: customizing a built-in policy, and writing your own
//! - [`guides::comparison`]: what else people use, and when it is the better choice
//!
//! # Secrets
//!
//! Keys never appear in `Debug` or `Display` output, errors, logs, metrics or events. Where a key has
//! to be identified, a hint such as `sk-a...efgh` is shown. A pool wipes its keys from memory when
//! their last handle is dropped. If a provider echoes a key, the layer removes the header, trailer or inspected
//! body that contains it from the response. See [SECURITY.md] for the details and limits of these promises.
//!
//! [SECURITY.md]: https://github.com/tower-key-failover/tower-key-failover/blob/main/SECURITY.md
//!
//! # When not to use this crate
//!
//! Most providers limit an account, a project or a workspace, not a single key. The keys of one account
//! share its limit, so a second key of the same account does not help with a 429. Some providers do not
//! allow several accounts to be used to get around limits. This crate keeps a service running when
//! one of its keys fails. It does not replace an agreement with the provider.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(all(
        feature = "grpc",
        feature = "events",
        feature = "metrics",
        feature = "serde"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

pub mod guides;
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub mod model_scope;
pub mod policy;
pub mod pool;

#[cfg(feature = "grpc")]
mod binary;
mod failover;
mod inspect;
mod key_search;
mod replay;
mod sse;
mod sync;
mod telemetry;

pub use self::failover::{
    Attempt, AttemptRecord, FailoverInfo, KeyFailover, KeyFailoverLayer, Outcome, Replay,
    RequestBody, ResponseBody, ResponseFuture,
};
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
#[doc(no_inline)]
pub use self::model_scope::ModelScopeLayer;
#[doc(no_inline)]
pub use self::policy::{BodyEvidence, Mark, ProviderPolicy, Verdict};
#[doc(no_inline)]
pub use self::pool::{
    BuildError, Exhausted, ExhaustedKind, Key, KeyPool, KeyPoolBuilder, KeyState, Marked, PickedBy,
    Reason, Walker,
};
pub use self::replay::{ReplayBudget, RequestBodyError};

// What pools and exchanges report to. They know only the traits that it implements.
type Observer = telemetry::Telemetry;

/// Any error, as tower boxes it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[doc(hidden)]
pub mod __private {
    //! What [`delegate_policy!`](crate::delegate_policy) names in the crates that use it.
    pub use bytes;
    pub use http;
}
