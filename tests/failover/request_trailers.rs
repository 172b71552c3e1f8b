//! Request trailers: they are forwarded without the caller's credentials.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use test_support::body::{Source, Step, chunked};
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};

/// The trailers of each attempt, if all keys but the last are refused.
async fn trailers_of_each_attempt(keys: &[&str], trailers: &[(&str, &str)]) -> Vec<HeaderMap> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let last = (*keys.last().unwrap()).to_owned();
    let provider = {
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<RequestBody<Source>>| {
            let is_last = request.headers()["x-api-key"] == last;
            let seen = Arc::clone(&seen);
            async move {
                let body = request.into_body().collect().await.unwrap();
                seen.lock().unwrap().push(body.trailers().unwrap().clone());
                let status = if is_last { 200 } else { 429 };
                let response = Response::builder().status(status);
                Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
            }
        })
    };
    let (body, remote) = chunked();
    remote.data("hello");
    let fields = trailers.iter();
    let fields = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    remote.push(Step::Trailers(fields.collect()));
    remote.push(Step::End);
    let pool = Arc::new(KeyPool::new(keys.iter().copied()).unwrap());
    let service = KeyFailoverLayer::new(Provider::anthropic(), pool).layer(provider);
    let response = service.oneshot(Request::new(body)).await.unwrap();
    assert_eq!(response.status(), 200);
    std::mem::take(&mut *seen.lock().unwrap())
}

#[tokio::test]
async fn a_callers_credential_in_the_trailers_of_a_request_is_removed() {
    let sent = [
        ("x-api-key", "sk-ant-callers-own"),
        ("authorization", "Bearer callers-own"),
        ("x-checksum", "crc32=1"),
        ("x-checksum", "crc32=2"),
    ];
    for keys in [&["sk-ant-1"][..], &["sk-ant-1", "sk-ant-2"]] {
        let seen = trailers_of_each_attempt(keys, &sent).await;
        assert_eq!(seen.len(), keys.len());
        for trailers in seen {
            let values: Vec<_> = trailers.get_all("x-checksum").iter().collect();
            assert_eq!(values, ["crc32=1", "crc32=2"]);
            assert_eq!(trailers.len(), 2, "{trailers:?}");
        }
    }
}
