//! The body of a client's request, without the client token in its trailers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use pin_project_lite::pin_project;
use secrecy::SecretString;

use crate::client_token;

pin_project! {
    pub struct ClientBody {
        #[pin]
        body: Incoming,
        token: Option<Arc<SecretString>>,
    }
}

impl ClientBody {
    pub fn new(body: Incoming, token: Option<&Arc<SecretString>>) -> Self {
        let token = token.filter(|_| !body.is_end_stream()).cloned();
        Self { body, token }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = self.project();
        let mut frame = ready!(this.body.poll_frame(cx));
        if let (Some(token), Some(Ok(frame))) = (this.token, &mut frame)
            && let Some(trailers) = frame.trailers_mut()
        {
            client_token::remove_from_trailers(trailers, token);
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
