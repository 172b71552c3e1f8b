use std::future::{Ready, ready};

use http::{HeaderValue, Request, Response, StatusCode};
use tower::retry::{Policy, RetryLayer};

use super::X_KEY;

/// `tower::retry` with a policy that clones each request, and after each of `refusals` sets another
/// key. It knows no pool: the next key is a constant.
pub fn cloning(refusals: usize) -> RetryLayer<Cloning> {
    RetryLayer::new(Cloning { refusals })
}

#[derive(Clone, Debug)]
pub struct Cloning {
    refusals: usize,
}

impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for Cloning {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<B>,
        response: &mut Result<Response<R>, E>,
    ) -> Option<Ready<()>> {
        let response = response.as_ref().ok()?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return None;
        }
        self.refusals -= 1;
        let key = if self.refusals == 0 { "good" } else { "key-1" };
        let key = HeaderValue::from_static(key);
        request.headers_mut().insert(X_KEY, key);
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}
