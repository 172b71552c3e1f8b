//! A simulated provider: what it responds to each kind of request with each kind of key.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};

/// A key, as the provider knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    /// Revoked, and the 401 says so.
    Revoked,
    /// Refused with a 403 that explains nothing.
    Forbidden,
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Served with every good key.
    Good,
    /// Served only with the good keys at this position and later, modulo the number of keys: a resource
    /// that belongs to one account. Other keys get a 403.
    Owned(usize),
    /// Refused with every key, in the same way.
    Odd(Odd),
    /// The provider fails with a 500.
    ServerError,
}

/// How the provider refuses an odd request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    Unauthorized,
    Forbidden,
    ForbiddenWithoutBody,
    /// The connection breaks within the body.
    ForbiddenAndCut,
    /// The body never ends.
    ForbiddenAndStalled,
    /// An edge in front of the provider rejects the client.
    EdgePage,
    EdgeCode,
}

impl Odd {
    pub const ALL: [Self; 7] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::ForbiddenWithoutBody,
        Self::ForbiddenAndCut,
        Self::ForbiddenAndStalled,
        Self::EdgePage,
        Self::EdgeCode,
    ];
}

/// Whether the provider serves this request with this key.
pub fn serves(kind: Kind, health: Health, key: usize, keys: usize) -> bool {
    match kind {
        _ if health != Health::Good => false,
        Kind::Good => true,
        Kind::Owned(owner) => owner % keys == key,
        Kind::Odd(_) | Kind::ServerError => false,
    }
}

/// The response to one attempt.
pub fn respond(kind: Kind, health: Health, key: usize, keys: usize) -> Response<Script> {
    let json = Script::complete("application/json");
    match (health, kind) {
        (_, Kind::ServerError) => json.respond(500, r#"{"error":{"message":"oops"}}"#),
        (_, Kind::Odd(Odd::EdgePage)) => {
            Script::complete("text/html").respond(403, "<!doctype html><title>Blocked</title>")
        }
        (_, Kind::Odd(Odd::EdgeCode)) => {
            Script::complete("text/plain").respond(403, "error code: 1010")
        }
        (Health::Revoked, _) => {
            let body = r#"{"error":{"message":"revoked","code":"invalid_api_key"}}"#;
            json.respond(401, body)
        }
        (Health::Forbidden, _) => json.respond(403, UNEXPLAINED),
        (Health::Good, Kind::Odd(odd)) => match odd {
            Odd::Unauthorized => json.respond(401, UNEXPLAINED),
            Odd::Forbidden => json.respond(403, UNEXPLAINED),
            Odd::ForbiddenWithoutBody => json.respond(403, ""),
            Odd::ForbiddenAndCut => json.then(End::Breaks).respond(403, &UNEXPLAINED[..9]),
            Odd::ForbiddenAndStalled => json.then(End::Stalls).respond(403, &UNEXPLAINED[..9]),
            Odd::EdgePage | Odd::EdgeCode => unreachable!("handled above"),
        },
        (Health::Good, _) if serves(kind, health, key, keys) => json.respond(200, "{}"),
        (Health::Good, _) => json.respond(403, UNEXPLAINED),
    }
}

const UNEXPLAINED: &str = r#"{"error":{"message":"no"}}"#;

/// A response body.
pub struct Script {
    content_type: &'static str,
    frames: VecDeque<Bytes>,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    Completes,
    Breaks,
    Stalls,
}

impl Script {
    fn complete(content_type: &'static str) -> Self {
        Self {
            content_type,
            frames: VecDeque::new(),
            end: End::Completes,
        }
    }

    fn then(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    fn respond(mut self, status: u16, body: &'static str) -> Response<Self> {
        if !body.is_empty() {
            self.frames.push_back(Bytes::from_static(body.as_bytes()));
        }
        let response = Response::builder().status(status);
        let response = response.header("content-type", self.content_type);
        response.body(self).unwrap()
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::complete("")
    }
}

impl From<Bytes> for Script {
    fn from(body: Bytes) -> Self {
        let mut script = Self::complete("");
        script.frames.push_back(body);
        script
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match (self.frames.pop_front(), self.end) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            (None, End::Completes) => Poll::Ready(None),
            (None, End::Breaks) => {
                self.end = End::Completes;
                Poll::Ready(Some(Err("the connection broke")))
            }
            (None, End::Stalls) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && matches!(self.end, End::Completes)
    }
}
