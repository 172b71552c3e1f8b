//! A key that the provider echoes is removed from the response.

use bytes::Bytes;
use http::response;
use http_body::Body;

use super::Exchange;
use crate::failover::response_body::BodyKind;
use crate::inspect::{Forms, redact_headers};

impl<S, P, B> Exchange<S, P, B> {
    /// Overwrites the current key in what is known of the response. `false` if that is impossible.
    pub(super) fn remove_echoed_key<R>(
        &self,
        head: &mut response::Parts,
        body: &mut BodyKind<R>,
        is_refusal: bool,
    ) -> bool
    where
        R: Body<Data = Bytes>,
    {
        let secret = self.key().expose_secret();
        if is_refusal {
            redact_headers(&mut head.headers, &Forms::of(secret));
        }
        body.redact(&head.headers, secret, is_refusal)
    }
}
