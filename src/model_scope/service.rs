use std::mem;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{Method, Request, Response, request};
use http_body::Body;
use tower_service::Service;

use super::RequestBody;
use super::future::ResponseFuture;
use super::start::Start;
use crate::pool::KeyChoice;

/// Middleware that sets the scope of a request to the model in its JSON body.
///
/// See the [module docs](super).
#[derive(Clone, Copy, Debug)]
pub struct ModelScope<S> {
    inner: S,
}

impl<S> ModelScope<S> {
    /// Wraps a service.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R> Service<Request<B>> for ModelScope<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        if body.is_end_stream() || !is_read(&head) {
            let request = Request::from_parts(head, RequestBody::unread(body));
            return ResponseFuture::calling(self.inner.call(request));
        }
        // The service that is ready takes the request. Its clone has to become ready first.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        ResponseFuture::reading(ready, head, Start::new(body))
    }
}

/// Whether the body of this request is read for the model.
fn is_read(head: &request::Parts) -> bool {
    let has_scope = || KeyChoice::of(head).is_some_and(|choice| choice.scope_ref().is_some());
    // What follows a CONNECT is not HTTP.
    head.method != Method::CONNECT && is_json(head) && !has_scope()
}

fn is_json(head: &request::Parts) -> bool {
    let Some(value) = head.headers.get(CONTENT_TYPE) else {
        return false;
    };
    let media_type = value.as_bytes().split(|byte| *byte == b';').next();
    let media_type = media_type.unwrap_or_default().trim_ascii();
    let ends_in_json = media_type.len().checked_sub(b"+json".len());
    let is_json = media_type.eq_ignore_ascii_case(b"application/json")
        || ends_in_json.is_some_and(|at| media_type[at..].eq_ignore_ascii_case(b"+json"));
    is_json && !head.headers.contains_key(CONTENT_ENCODING)
}
