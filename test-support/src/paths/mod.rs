//! Every path that a request can take through the layer, and through the alternatives to it. The
//! benches, the instruction counts and the allocation counts share this list.

mod floor;
mod peers;
mod provider;
mod requests;
mod selections;

use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_key_failover::pool::peer::PeerPool;
use tower_key_failover::{KeyFailoverLayer, KeyPool, KeyPoolBuilder, ProviderPolicy};

use self::floor::Floor;
pub use self::peers::cloning;
pub use self::provider::{Plain, Provider, X_KEY};
pub use self::requests::Requests;
pub use self::selections::selections;

/// One way through, by name.
pub struct Path {
    pub name: &'static str,
    prepare: Box<dyn Fn() -> Box<dyn Sending> + Send + Sync>,
}

impl Path {
    fn new<S, B, R>(
        name: &'static str,
        service: impl Fn() -> S + Send + Sync + 'static,
        request: impl Fn() -> Request<B> + Send + Sync + 'static,
    ) -> Self
    where
        S: Service<Request<B>, Response = Response<R>, Error = Infallible> + 'static,
        B: 'static,
    {
        Self {
            name,
            prepare: Box::new(move || {
                Box::new(Prepared {
                    service: service(),
                    request: Some(request()),
                })
            }),
        }
    }

    /// A service and a request, with all done that is not to be measured.
    pub fn prepare(&self) -> Box<dyn Sending> {
        (self.prepare)()
    }
}

/// A request that is ready to be sent.
pub trait Sending {
    /// Sends it once, and drops the response.
    fn send(&mut self);
}

struct Prepared<S, B> {
    service: S,
    request: Option<Request<B>>,
}

impl<S, B, R> Sending for Prepared<S, B>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    fn send(&mut self) {
        send(&mut self.service, self.request.take().expect("sent once"));
    }
}

/// Sends `request`, to which a provider responds at once with a success.
pub fn send<S, B, R>(service: &mut S, request: Request<B>)
where
    S: Service<Request<B>, Response = Response<R>, Error: Debug>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let response = pin!(service.call(request)).poll(&mut cx);
    assert!(matches!(response, Poll::Ready(Ok(response)) if response.status() == StatusCode::OK));
}

/// A pool of which the last `usable` keys are usable; the provider likes the last one.
pub fn pool(len: usize, usable: usize) -> Arc<KeyPool> {
    marked(KeyPool::builder(), len, usable)
}

/// The same, whose marked keys are never probed.
fn pool_without_probes(len: usize, usable: usize) -> Arc<KeyPool> {
    marked(KeyPool::builder().probe_after(None), len, usable)
}

fn marked(builder: KeyPoolBuilder, len: usize, usable: usize) -> Arc<KeyPool> {
    let others = (1..len).map(|n| format!("key-{n}-0123456789"));
    let keys = others.chain(["good".to_owned()]);
    let pool = keys.fold(builder, KeyPoolBuilder::key).build().unwrap();
    for key in pool.keys().take(len - usable) {
        key.mark_permanent();
    }
    Arc::new(pool)
}

/// The same with the key that the provider likes in front.
pub fn good_first(len: usize) -> Arc<KeyPool> {
    let others = (1..len).map(|n| format!("key-{n}-0123456789"));
    Arc::new(KeyPool::new(["good".to_owned()].into_iter().chain(others)).unwrap())
}

/// All paths for requests of this kind. The caller passes the two built-in policies, which a build
/// without them does not have.
pub fn all<A, O>(requests: Requests, anthropic: A, openai: O) -> Vec<Path>
where
    A: ProviderPolicy + Clone,
    O: ProviderPolicy,
{
    let plain = move || requests.make();
    let with_key = move || requests.with_key("good");

    let accepted = |name, pool| with(name, KeyFailoverLayer::new(Plain, pool), plain);
    let with_extensions = |name, pool| {
        let layer = KeyFailoverLayer::new(Plain, pool).extensions(true);
        with(name, layer, plain)
    };
    let refused = |name, keys: usize| {
        let layer = move || KeyFailoverLayer::new(Plain, pool(keys, keys));
        Path::new(name, move || layer().layer(Provider), plain)
    };
    let retried = |name, refusals| {
        let service = move || cloning(refusals).layer(Provider);
        let bad_key = move || requests.with_key("key-0");
        Path::new(name, service, bad_key)
    };
    vec![
        Path::new("bare", || Provider, plain),
        Path::new("retry", || cloning(0).layer(Provider), plain),
        Path::new("floor", || Floor(Provider), plain),
        with("disabled", KeyFailoverLayer::disabled(Plain), plain),
        with(
            "byok",
            KeyFailoverLayer::new(Plain, good_first(3)),
            with_key,
        ),
        accepted("one key", good_first(1)),
        accepted("first of 3", good_first(3)),
        accepted("first of 10", good_first(10)),
        accepted("first of 1000", good_first(1000)),
        with_peer("first of 3, replicas", good_first(3), plain),
        accepted("last of 10", pool(10, 1)),
        accepted("last of 1000", pool(1000, 1)),
        accepted("last of 1000, no probes", pool_without_probes(1000, 1)),
        with_extensions("one key, extensions", good_first(1)),
        with_extensions("first of 3, extensions", good_first(3)),
        with(
            "one key, Anthropic",
            KeyFailoverLayer::new(anthropic.clone(), good_first(1)),
            plain,
        ),
        with(
            "first of 3, Anthropic",
            KeyFailoverLayer::new(anthropic, good_first(3)),
            plain,
        ),
        with(
            "first of 3, OpenAi",
            KeyFailoverLayer::new(openai, good_first(3)),
            plain,
        ),
        retried("retry, one refused", 1),
        refused("one refused", 2),
        retried("retry, two refused", 2),
        refused("two refused", 3),
    ]
}

fn with<P: ProviderPolicy>(
    name: &'static str,
    layer: KeyFailoverLayer<P>,
    request: impl Fn() -> Request<Full<Bytes>> + Send + Sync + 'static,
) -> Path {
    let service = layer.layer(Provider);
    Path::new(name, move || service.clone(), request)
}

/// The same, where something waits for changes of the pool, as a crate does that shares it with other
/// replicas.
fn with_peer(
    name: &'static str,
    pool: Arc<KeyPool>,
    request: impl Fn() -> Request<Full<Bytes>> + Send + Sync + 'static,
) -> Path {
    let mut peer = PeerPool::new(Arc::clone(&pool));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pin!(peer.changed()).poll(&mut cx).is_pending());
    let service = KeyFailoverLayer::new(Plain, pool).layer(Provider);
    let service = move || {
        let _waiting = &peer;
        service.clone()
    };
    Path::new(name, service, request)
}
