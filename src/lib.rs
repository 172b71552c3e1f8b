//! Tower middleware that fails over between API keys.
//!
//! A service that calls a provider (Anthropic, OpenAI, Gemini, any HTTP or gRPC API) often holds
//! several keys for it. When the provider refuses a request *because of the key* (rate-limited,
//! revoked, forbidden, out of quota), [`KeyFailoverLayer`] sends the same request again with the
//! next key of a shared [`KeyPool`], marks the refused key for as long as the provider said, or for
//! good, and the caller sees one good answer.
//!
//! ```
//! use std::{convert::Infallible, sync::Arc, time::Duration};
//!
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_key_failover::pool::{KeyPool, KeyState};
//! # #[cfg(feature = "providers")]
//! use tower_key_failover::policy::Anthropic;
//! use tower_key_failover::{KeyFailoverLayer, RequestBody};
//! # type Body = http_body_util::Full<bytes::Bytes>;
//!
//! # #[cfg(not(feature = "providers"))] fn main() {}
//! # #[cfg(feature = "providers")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A provider that has had enough of the first key. Anything that takes HTTP requests will do:
//! // hyper-util's `Client`, a tonic channel, another stack of layers.
//! let provider = service_fn(|request: Request<RequestBody<Body>>| async move {
//!     let refused = request.headers()["x-api-key"] == "sk-ant-first";
//!     Ok::<_, Infallible>(match refused {
//!         true => Response::builder().status(429).header("retry-after", "5"),
//!         false => Response::builder().status(200),
//!     }.body(Body::default()).unwrap())
//! });
//!
//! let pool = KeyPool::builder()
//!     .key("sk-ant-first")
//!     .key("sk-ant-second")
//!     .probe_after(Duration::from_secs(600)) // tries again what is out for good
//!     .build()?;
//! let pool = Arc::new(pool);
//! let service = KeyFailoverLayer::new(Anthropic::new(), pool.clone()).layer(provider);
//!
//! let request = Request::post("https://api.anthropic.com/v1/messages").body(Body::from("{}"))?;
//! let response = service.oneshot(request).await?;
//!
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.body().failover().unwrap().attempts(), 2);
//! assert!(matches!(pool.states()[..], [KeyState::Temporary { .. }, KeyState::Valid]));
//! # Ok(())
//! # }
//! ```
//!
//! # What an answer does
//!
//! | The provider answers | The request | The key |
//! |---|---|---|
//! | 429 | is sent again with the next key | is out for as long as the answer says, else 60 s |
//! | 401, 403 | is sent again with the next key | is out for good |
//! | anything else | has its answer | is untouched |
//! | nothing: a transport error | fails at once | is untouched |
//!
//! That is by status alone. Policies that know their provider read the evidence in head and body:
//! a 403 for one model keeps the key, a 400 may be a dead one. See [`policy`] for what each says.
//!
//! Keys are tried in the pool's order, each at most once. When none is left the caller gets an
//! error in the provider's own shape: 429 with the true `retry-after` where a key will return, 502
//! where none will. A refusal that keeps the key is forwarded instead.
//!
//! A request that brings its own credential is not touched: one attempt, nothing injected, nothing
//! marked. An outer layer should strip the tokens that are meant for the gateway itself.
//!
//! # Keys that heal
//!
//! A key whose cooldown is over is valid again by itself. One that is out for good stays so, unless it
//! is lent to a request now and then
//! ([`probe_after`](KeyPoolBuilder::probe_after), recommended; ten minutes above), or
//! [`reinstate`](KeyPool::reinstate)d by hand. Where no key is left a request can
//! [`wait_for_key`](KeyFailoverLayer::wait_for_key); keys of one organisation can share a
//! [`group`](KeyPoolBuilder::group); and the list of keys can be
//! [replaced](KeyPool::replace_keys) while it is used. See [`healing`] for all of it, with an example.
//!
//! # The request body
//!
//! It streams: the first attempt starts before the upload has ended, and what passes is recorded
//! while another key could follow. A later attempt sends the recording and then goes on with the
//! upload. Nothing is recorded for a request that could not be sent again, and recording ends with
//! the answer. [`max_replay_bytes`](KeyFailoverLayer::max_replay_bytes) bounds one recording and a
//! [`ReplayBudget`] all of them; a body above a bound streams on, and is not sent again.
//!
//! The caller's body must be `Unpin`: map one that is not with `Box::pin`.
//!
//! # WebSocket and other upgrades
//!
//! A request to switch protocols is one like any other: refused because of its key, it is sent again
//! with the next. After a 101 the layer has no part in the connection, which is to be had from the
//! response, as it is without the layer. It takes a client that speaks HTTP/1.1. What follows a
//! CONNECT is no HTTP, so a CONNECT makes one attempt.
//!
//! A proxy has a second connection to switch, that of its own client. hyper puts the handle to it,
//! `OnUpgrade`, into the request's extensions, and these are copied for each attempt. The copies share
//! one connection: awaiting two of them panics. So **take it out before the layer, and await it after
//! a 101**:
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use hyper::body::Incoming;
//! use hyper_util::rt::TokioIo;
//! use tower::{Service, ServiceExt};
//! use tower_key_failover::{BoxError, ResponseBody};
//!
//! async fn forward<S>(
//!     service: S,
//!     mut request: Request<Incoming>,
//! ) -> Result<Response<ResponseBody<Incoming>>, S::Error>
//! where
//!     S: Service<Request<Incoming>, Response = Response<ResponseBody<Incoming>>>,
//! {
//!     let client = hyper::upgrade::on(&mut request);
//!     let mut response = service.oneshot(request).await?;
//!     if response.status() == StatusCode::SWITCHING_PROTOCOLS {
//!         let upstream = hyper::upgrade::on(&mut response);
//!         tokio::spawn(async move {
//!             let (client, upstream) = tokio::try_join!(client, upstream)?;
//!             let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
//!             tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
//!             Ok::<_, BoxError>(())
//!         });
//!     }
//!     Ok(response)
//! }
//! ```
//!
//! The layer does not take it out by itself: an inner service that switches protocols on its own, a
//! handler of axum's for one, needs it in the attempt that it accepts, whichever that is. Such a
//! service awaits it only where it answers 101, and there is only one 101.
//!
//! # Configured
//!
//! ```
//! use std::{convert::Infallible, num::NonZeroUsize, sync::Arc, time::Duration};
//!
//! use http::{HeaderName, Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! # #[cfg(feature = "providers")]
//! use tower_key_failover::policy::{Byok, Header, Mark, Verdict};
//! use tower_key_failover::{FailoverInfo, KeyFailoverLayer, KeyPool, Outcome, ReplayBudget};
//! # type Body = http_body_util::Full<bytes::Bytes>;
//!
//! # #[cfg(not(feature = "providers"))] fn main() {}
//! # #[cfg(feature = "providers")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = KeyPool::builder()
//!     .name("search")
//!     .labeled_key("team-a", "first-key-0123456789")
//!     .labeled_key("team-b", "second-key-012345678")
//!     .default_cooldown(Duration::from_secs(30))
//!     .max_cooldown(Duration::from_secs(3600))
//!     .probe_after(Duration::from_secs(600))
//!     .build()?;
//!
//! // A 401 of this provider is not to be trusted for longer than a minute.
//! let doubtful = Verdict::Failover(Mark::temporary(Some(Duration::from_secs(60))));
//! let policy = Header::new(HeaderName::from_static("x-token"))
//!     .byok(Byok::Never)
//!     .on_unauthorized(doubtful);
//!
//! let service = ServiceBuilder::new()
//!     .layer(
//!         KeyFailoverLayer::new(policy, Arc::new(pool))
//!             .max_attempts(NonZeroUsize::MIN.saturating_add(1))
//!             .max_replay_bytes(1 << 20)
//!             .replay_budget(ReplayBudget::new(64 << 20)),
//!     )
//!     .service_fn(|_| async {
//!         Ok::<_, Infallible>(Response::builder().status(401).body(Body::default()).unwrap())
//!     });
//!
//! let response = service.oneshot(Request::new(Body::default())).await?;
//! assert_eq!(response.status(), 429);
//! assert_eq!(response.headers()["retry-after"], "60");
//! let info: &FailoverInfo = response.extensions().get().unwrap();
//! assert_eq!((info.attempts(), info.label()), (2, Some("team-b")));
//! assert_eq!(info.outcome(), Outcome::Exhausted);
//! # Ok(())
//! # }
//! ```
//!
//! Which layers belong above this one and which beneath, and how it is put on axum, hyper, tonic and
//! reqwest, is told in [`stacks`].
//!
//! # When not to use it
//!
//! Providers mostly limit an *account*, a project or a workspace, not a key: keys of one account
//! share its limit, and a second one gains nothing on a 429. Some providers' terms restrict the use
//! of several accounts to get around limits. This crate keeps a service alive when one of its keys
//! fails; it is no way around what was agreed with the provider.
//!
//! # Secrets
//!
//! A key is never in a `Debug` or `Display`, or in an error of ours; people are shown a hint,
//! `sk-a...efgh`. A key that a refusal echoes, as it is, escaped in JSON, percent-encoded, in hex or in
//! base64, is overwritten in the part that was inspected, and a compressed refusal that holds it does
//! not go to the caller. What streams through is not searched, nor what cannot be decoded. A pool wipes its keys
//! when the last handle to them goes. Copies that HTTP and TLS implementations make while they send are
//! theirs.
//!
//! # Features
//!
//! - `providers` (default): the built-in policies, with decoders for compressed error bodies.
//!   Without it the crate is the pool, the layer and the trait.
//! - `grpc`: the policy [`Grpc`](policy::Grpc), for services of tonic's and of any other
//!   implementation.
//! - `events`: [`KeyPool::subscribe`], a stream of what happens to a pool.
//! - `metrics`: counters, gauges and histograms by the `metrics` facade, and
//!   [`KeyPool::record_metrics`].
//! - `tracing`: a span for each request whose key was refused, and an event for each mark, return,
//!   exhaustion, replay given up and change of the list.
//! - `serde`: [`KeyPool::save`] and [`KeyPool::restore`], for a pool's state over restarts.
//!
//! What there is to be seen of a pool at work, and how, is told in [`watching`].

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

pub mod policy;
pub mod pool;
#[doc = include_str!("docs/healing.md")]
pub mod healing {}
#[doc = include_str!("docs/stacks.md")]
pub mod stacks {}
#[doc = include_str!("docs/watching.md")]
pub mod watching {}

#[cfg(feature = "grpc")]
mod binary;
mod failover;
mod inspect;
mod replay;
mod sse;
mod sync;
mod telemetry;

pub use self::failover::{
    Attempt, AttemptRecord, FailoverInfo, KeyFailover, KeyFailoverLayer, Outcome, Replay,
    RequestBody, ResponseBody, ResponseFuture,
};
#[doc(no_inline)]
pub use self::policy::{BodyEvidence, Mark, ProviderPolicy, Verdict};
#[doc(no_inline)]
pub use self::pool::{
    BuildError, Exhausted, ExhaustedKind, Key, KeyPool, KeyPoolBuilder, KeyState, Marked, Reason,
    Walker,
};
pub use self::replay::{ReplayBudget, RequestBodyError};

/// Any error, as tower boxes it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
