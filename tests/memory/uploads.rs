//! What many uploads hold at once.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::support::{is_refused, layer};
use allocation_counter::AllocationInfo;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use tokio::sync::Barrier;
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::ReplayBudget;

const UPLOADS: usize = 200;
const LENGTH: usize = 1 << 20;
const FRAME: usize = 64 << 10;
const BODIES: u64 = (UPLOADS * LENGTH) as u64;

/// A body whose frames are made when they are asked for.
#[derive(Debug)]
struct Upload {
    left: usize,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= FRAME;
        Poll::Ready(Some(Ok(Frame::data(vec![b'x'; FRAME].into()))))
    }
}

/// A provider that responds after it has read all requests.
async fn provider<B>(
    all_are_read: Arc<Barrier>,
    request: Request<B>,
) -> Result<Response<Empty<Bytes>>, Infallible>
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let is_refused = is_refused(&request);
    let (mut body, mut read) = (request.into_body(), 0);
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().data_ref().unwrap().len();
    }
    assert_eq!(read, LENGTH);
    all_are_read.wait().await;
    let mut response = Response::new(Empty::new());
    if is_refused {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    Ok(response)
}

type Service = BoxCloneService<Request<Upload>, StatusCode, Infallible>;

/// Has all uploads accepted.
fn upload_through(service: impl FnOnce(Arc<Barrier>) -> Service) -> AllocationInfo {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let service = service(Arc::new(Barrier::new(UPLOADS)));
    let upload = || {
        service
            .clone()
            .oneshot(Request::new(Upload { left: LENGTH }))
    };
    let measured = allocation_counter::measure(|| {
        let responses = runtime.block_on(join_all((0..UPLOADS).map(|_| upload())));
        assert!(
            responses
                .iter()
                .all(|response| *response == Ok(StatusCode::OK))
        );
    });
    assert_eq!(measured.bytes_current, 0, "is still held");
    measured
}

fn without() -> AllocationInfo {
    upload_through(|all_are_read| {
        let service = service_fn(move |request| provider(Arc::clone(&all_are_read), request));
        service
            .map_response(|response| response.status())
            .boxed_clone()
    })
}

fn with<const N: usize>(keys: [&'static str; N], budget: &ReplayBudget) -> AllocationInfo {
    let layer = layer(keys).replay_budget(budget.clone());
    upload_through(|all_are_read| {
        let service = service_fn(move |request| provider(Arc::clone(&all_are_read), request));
        let service = layer.layer(service);
        service
            .map_response(|response| response.status())
            .boxed_clone()
    })
}

#[test]
fn two_hundred_uploads_over_two_keys_hold_little_more_than_their_bodies() {
    let budget = ReplayBudget::new(usize::MAX);
    let held = with(["refused", "good"], &budget).bytes_max - without().bytes_max;
    println!(
        "{held} bytes, {:.4} of the bodies",
        held as f64 / BODIES as f64
    );
    assert!((BODIES..BODIES * 11 / 10).contains(&held), "{held} bytes");
    assert_eq!(budget.held(), 0);
}

#[test]
fn two_hundred_uploads_over_one_key_hold_nothing_of_their_bodies() {
    let budget = ReplayBudget::new(usize::MAX);
    let held = with(["good"], &budget).bytes_max - without().bytes_max;
    println!("{} bytes each", held / UPLOADS as u64);
    // The future and the body that it sends are larger than without.
    assert!(held < 1024 * UPLOADS as u64, "{held} bytes");
}
