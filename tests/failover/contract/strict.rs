//! Holds a caller to the contract, even where the service beneath would forgive it.

use std::task::{Context, Poll};

use tower::Service;

/// Panics if it is called without being ready, or used again after it failed.
#[derive(Debug)]
pub struct Strict<S> {
    inner: S,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Unready,
    Ready,
    Failed,
}

impl<S> Strict<S> {
    pub fn new(inner: S) -> Self {
        let state = State::Unready;
        Self { inner, state }
    }
}

impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<S: Service<Request>, Request> Service<Request> for Strict<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        assert_ne!(self.state, State::Failed, "asked again after it failed");
        let polled = self.inner.poll_ready(cx);
        self.state = match &polled {
            Poll::Pending => State::Unready,
            Poll::Ready(Ok(())) => State::Ready,
            Poll::Ready(Err(_)) => State::Failed,
        };
        polled
    }

    fn call(&mut self, request: Request) -> S::Future {
        let state = std::mem::replace(&mut self.state, State::Unready);
        assert_eq!(state, State::Ready, "called without being ready");
        self.inner.call(request)
    }
}
