use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, request};
use http_body::{Body, Frame, SizeHint};
use tower::Service;

use super::X_KEY;

/// The least that any layer does that can send a request again with another key: it clones the head,
/// keeps handles to the frames of the body, inserts a key and looks at the status. It has no pool, marks
/// nothing, reports nothing, copies no small frames, and keeps no limit. Its counts are a lower bound, so
/// it does not even send the request again.
#[derive(Clone, Copy, Debug)]
pub struct Floor<S>(pub S);

impl<S, B, R> Service<Request<B>> for Floor<S>
where
    S: Service<Request<Kept<B>>, Response = Response<R>> + Clone + Unpin,
    S::Future: Unpin,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = FloorFuture<S::Future, S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let frames = Arc::default();
        let again = Again {
            head: head.clone(),
            frames: Arc::clone(&frames),
            service: self.0.clone(),
        };
        head.headers.insert(X_KEY, HeaderValue::from_static("good"));
        let request = Request::from_parts(head, Kept { body, frames });
        FloorFuture {
            future: self.0.call(request),
            again,
        }
    }
}

type Frames = Arc<Mutex<Vec<Bytes>>>;

/// What a further attempt needs.
#[derive(Debug)]
#[allow(dead_code)]
struct Again<S> {
    head: request::Parts,
    frames: Frames,
    service: S,
}

#[derive(Debug)]
pub struct FloorFuture<F, S> {
    future: F,
    #[allow(dead_code)]
    again: Again<S>,
}

impl<F, S, R, E> Future for FloorFuture<F, S>
where
    F: Future<Output = Result<Response<R>, E>> + Unpin,
    S: Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let response = ready!(Pin::new(&mut self.future).poll(cx))?;
        assert!(response.status() != StatusCode::UNAUTHORIZED);
        Poll::Ready(Ok(response))
    }
}

/// A body whose frames are kept.
#[derive(Debug)]
pub struct Kept<B> {
    body: B,
    frames: Frames,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Kept<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.frames.lock().unwrap().push(data.clone());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
