//! Middleware that takes the [scope](crate::guides::scopes) of a request from the `model` field of its JSON body.
//!
//! Most JSON APIs name the model in the body, such as `{"model":"gpt-4o","messages":[...]}`. A policy does not see
//! the body. [`ModelScopeLayer`] reads its start and adds the model to the
//! [`KeyChoice`](crate::pool::KeyChoice) in the request's extensions. Place it outside of
//! [`KeyFailoverLayer`](crate::KeyFailoverLayer):
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_key_failover::model_scope::{self, ModelScopeLayer};
//! use tower_key_failover::policy::Provider;
//! use tower_key_failover::pool::KeyChoice;
//! use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};
//!
//! type Body = RequestBody<model_scope::RequestBody<Full<Bytes>>>;
//!
//! let pool = KeyPool::new(["sk-first", "sk-second"])?;
//! let service = ServiceBuilder::new()
//!     .layer(ModelScopeLayer::new())
//!     .layer(KeyFailoverLayer::new(Provider::openai(), pool))
//!     // In place of a client:
//!     .service_fn(|request: Request<Body>| async move {
//!         let choice: &KeyChoice = request.extensions().get().unwrap();
//!         assert_eq!(choice.scope_ref().unwrap().as_str(), "gpt-4o");
//!         // The body is unchanged.
//!         let body = request.into_body().collect().await.unwrap().to_bytes();
//!         Ok::<_, Infallible>(Response::new(Full::new(body)))
//!     });
//!
//! let request = Request::post("https://api.openai.com/v1/chat/completions")
//!     .header("content-type", "application/json")
//!     .body(Full::from(r#"{"model":"gpt-4o","messages":[]}"#))?;
//! let response = service.oneshot(request).await?;
//! let body = response.into_body().collect().await?.to_bytes();
//! assert_eq!(body, r#"{"model":"gpt-4o","messages":[]}"#);
//! # Ok(())
//! # }
//! ```
//!
//! # Which requests are read
//!
//! The body is read if its `content-type` is `application/json` or ends in `+json`, if it has no `content-encoding`,
//! and if no scope is set yet. Any other request passes at once.
//!
//! # Delay and memory
//!
//! The inner service is called when the first top-level field `model` is complete, when the body ends or turns out not
//! to be a JSON object, or after 64 KiB. Until then, the request holds what was read, at most 64 KiB and one frame, and
//! the readiness of the inner service. Clients write the model first, so in practice this delays a request by its
//! first frame. If a client stalls before the field is complete, its request waits; use a timeout for request bodies around
//! this layer if you serve clients that you do not trust. The time for parsing is linear in the number of bytes read,
//! however small the frames are.
//!
//! A client with `expect: 100-continue` is told to continue before the upstream has responded.
//!
//! # What counts as the model
//!
//! If the object has several fields `model`, the first one counts, because the layer does not wait for the others. Many
//! providers use the last one. The guide says [what a client can do with that](crate::guides::scopes#bounds). A model that
//! is not a string, or is not a valid [`Scope`](crate::pool::Scope), is ignored: the request then has no scope.

mod body;
mod field_end;
mod future;
mod layer;
mod model_field;
mod service;
mod start;

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests;

pub use self::body::RequestBody;
pub use self::future::ResponseFuture;
pub use self::layer::ModelScopeLayer;
pub use self::service::ModelScope;
