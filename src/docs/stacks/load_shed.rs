use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::Connect};
use tower::{BoxError, Service, ServiceBuilder};
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailoverLayer, RequestBody, ResponseBody};

/// Serves 100 requests at a time. Others fail at once, with `tower::load_shed::error::Overloaded`.
pub fn stack<C>(
    failover: KeyFailoverLayer<Provider>,
    client: Client<C, RequestBody<Full<Bytes>>>,
    requests: usize,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<ResponseBody<Incoming>>,
    Error = BoxError,
    Future: Send,
> + Clone
+ Send
where
    C: Connect + Clone + Send + Sync + 'static,
{
    ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(requests)
        .layer(failover)
        .service(client)
}
