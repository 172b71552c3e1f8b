//! A provider of which every step takes time. It counts what is alive of its calls.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{Sleep, sleep};
use tower::Service;
use tower_key_failover::{BoxError, RequestBody};

/// How long each step takes.
pub const STEP: Duration = Duration::from_millis(10);

/// A body whose frames arrive one by one.
#[derive(Default)]
pub struct SlowBody {
    frames: VecDeque<Result<Frame<Bytes>, BoxError>>,
    pause: Option<Pin<Box<Sleep>>>,
    _alive: Option<Alive>,
}

impl SlowBody {
    pub fn of(frames: &[Piece]) -> Self {
        Self {
            frames: frames.iter().map(Piece::frame).collect(),
            ..Self::default()
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Piece {
    Data(&'static str),
    /// A `grpc-status` of 0.
    Trailers,
    Failure,
}

impl Piece {
    fn frame(&self) -> Result<Frame<Bytes>, BoxError> {
        match self {
            Self::Data(data) => Ok(Frame::data(Bytes::from_static(data.as_bytes()))),
            Self::Trailers => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                Ok(Frame::trailers(trailers))
            }
            Self::Failure => Err("the body fails".into()),
        }
    }
}

impl Body for SlowBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(STEP)));
        ready!(pause.as_mut().poll(cx));
        self.pause = None;
        Poll::Ready(self.frames.pop_front())
    }
}

/// The response to one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    pub status: u16,
    pub header: (&'static str, &'static str),
    pub body: &'static [Piece],
}

pub const SUCCESS: Reply = Reply {
    status: 200,
    header: ("x-said", "nothing"),
    body: &[Piece::Data("all "), Piece::Data("good")],
};

#[derive(Default)]
pub struct Provider {
    shared: Arc<Shared>,
    readying: Option<Pin<Box<Sleep>>>,
}

#[derive(Default)]
struct Shared {
    /// The responses to the next attempts. All others succeed.
    replies: Mutex<VecDeque<Reply>>,
    alive: Arc<AtomicUsize>,
}

struct Alive(Arc<AtomicUsize>);

impl Provider {
    pub fn new(replies: &[Reply]) -> Self {
        let provider = Self::default();
        *provider.shared.replies.lock().unwrap() = replies.iter().copied().collect();
        provider
    }

    /// All attempts succeed from now on.
    pub fn recover(&self) {
        self.shared.replies.lock().unwrap().clear();
    }

    /// How many of its futures and bodies there are.
    pub fn alive(&self) -> usize {
        self.shared.alive.load(Ordering::Relaxed)
    }
}

/// A clone is not ready because the original is.
impl Clone for Provider {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            readying: None,
        }
    }
}

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service<Request<RequestBody<SlowBody>>> for Provider {
    type Response = Response<SlowBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let readying = self.readying.get_or_insert_with(|| Box::pin(sleep(STEP)));
        readying.as_mut().poll(cx).map(Ok)
    }

    fn call(&mut self, request: Request<RequestBody<SlowBody>>) -> Self::Future {
        let readying = self.readying.take();
        assert!(readying.is_some_and(|readying| readying.is_elapsed()));
        let shared = Arc::clone(&self.shared);
        let alive = Alive::new(&shared.alive);
        Box::pin(async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                frame?;
            }
            sleep(STEP).await;
            let reply = shared.replies.lock().unwrap().pop_front();
            let reply = reply.unwrap_or(SUCCESS);
            let response = Response::builder().status(reply.status);
            Ok(response
                .header(reply.header.0, reply.header.1)
                .body(SlowBody {
                    _alive: Some(alive),
                    ..SlowBody::of(reply.body)
                })?)
        })
    }
}
