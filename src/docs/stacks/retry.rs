use std::future::{Ready, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::Connect};
use hyper_util::rt::TokioExecutor;
use tower::ServiceBuilder;
use tower::retry::{Policy, Retry, RetryLayer};
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailover, KeyFailoverLayer, Outcome, RequestBody, ResponseBody};

/// Repeats a request after a transport error or a 5xx of the provider.
#[derive(Clone, Debug)]
pub struct ServerErrors {
    /// How often the request can still be repeated.
    pub retries: usize,
}

impl<B, R, E> Policy<Request<B>, Response<ResponseBody<R>>, E> for ServerErrors
where
    B: Clone,
    R: Body,
{
    type Future = Ready<()>; // or a sleep

    fn retry(
        &mut self,
        _: &mut Request<B>,
        result: &mut Result<Response<ResponseBody<R>>, E>,
    ) -> Option<Self::Future> {
        let is_worth_it = match result {
            Ok(response) => {
                // This layer's own 502 says that no key is left. A retry would find none either.
                let info = response.body().failover();
                let is_own = info.is_some_and(|info| info.outcome() == Outcome::Exhausted);
                response.status().is_server_error() && !is_own
            }
            Err(_) => true,
        };
        self.retries = self.retries.checked_sub(usize::from(is_worth_it))?;
        is_worth_it.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

type Attempts<C> = Client<C, RequestBody<Full<Bytes>>>;

pub fn stack<C: Connect + Clone>(
    failover: KeyFailoverLayer<Provider>,
    connector: C,
) -> Retry<ServerErrors, KeyFailover<Attempts<C>, Provider>> {
    ServiceBuilder::new()
        .layer(RetryLayer::new(ServerErrors { retries: 2 }))
        .layer(failover)
        .service(Client::builder(TokioExecutor::new()).build(connector))
}
