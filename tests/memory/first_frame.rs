//! A small first frame that was cut from a large buffer.

use std::convert::Infallible;
use std::future::{Pending, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_key_failover::{ReplayBudget, RequestBody};

use crate::support::layer;

/// A read buffer of 8 MiB.
struct Buffer(Arc<[u8]>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Reads a request to its end, and never responds.
fn read(
    request: Request<RequestBody<Full<Bytes>>>,
) -> Pending<Result<Response<Full<Bytes>>, Infallible>> {
    let mut body = request.into_body();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
        frame.unwrap();
    }
    pending()
}

#[test]
fn a_recorded_frame_does_not_keep_the_buffer_alive_that_it_was_cut_from() {
    for len in [1, 100, 1_000, 10_000] {
        let memory: Arc<[u8]> = vec![0; 8 << 20].into();
        let frame = Bytes::from_owner(Buffer(Arc::clone(&memory))).slice(..len);
        let budget = ReplayBudget::new(1 << 20);
        let layer = layer(["k0", "good"]).replay_budget(budget.clone());
        let mut service = layer.layer(service_fn(read));
        let mut call = pin!(service.call(Request::new(Full::new(frame))));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        assert_eq!(Arc::strong_count(&memory), 1, "{len}");
        assert_eq!(budget.held(), len);
    }
}
