//! How large the layer's future is: callers keep one for each request under way.

use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use test_support::policy::TestPolicy;
use tower::Service;
use tower_key_failover::{KeyFailover, RequestBody};

type Body = Full<bytes::Bytes>;
type Inner = Client<HttpConnector, RequestBody<Body>>;

fn size_of_future<S: Service<Request<B>>, B>() -> usize {
    size_of::<S::Future>()
}

#[test]
fn the_future_is_at_most_512_bytes_larger_than_that_of_hypers_client() {
    let inner = size_of_future::<Inner, RequestBody<Body>>();
    let outer = size_of_future::<KeyFailover<Inner, TestPolicy>, Body>();
    println!("the client's future: {inner} bytes; the layer's: {outer}");
    println!("the client itself: {} bytes", size_of::<Inner>());
    assert!(outer - inner <= 512, "{inner} bytes became {outer}");
}
