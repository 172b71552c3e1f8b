use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::keys::key;

/// What the upstream says of an upload: when the first byte of its body arrived, in nanoseconds
/// since 1970.
pub const FIRST_BYTE_AT: &str = "x-first-byte-at";

const ANSWER: &str = concat!(
    r#"{"id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message","role":"assistant","#,
    r#""model":"claude-sonnet-4-5","content":[{"type":"text","text":"Hello! How can I help?"}],"#,
    r#""stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":12,"output_tokens":8}}"#,
);
const REFUSAL: &str = concat!(
    r#"{"type":"error","error":{"type":"rate_limit_error","#,
    r#""message":"This request would exceed your organization's rate limit."}}"#,
);

/// Answers at once, and refuses the first key as often as a request's query says: every n-th time
/// that the key is presented with `refuse=n`.
struct Provider {
    first_key: HeaderValue,
    presented: AtomicUsize,
    refused: AtomicUsize,
}

#[tokio::main]
pub async fn serve() {
    let provider = Arc::new(Provider {
        first_key: HeaderValue::from_str(&key(0)).unwrap(),
        presented: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let provider = Arc::clone(&provider);
        tokio::spawn(async move {
            let answer = service_fn(|request| provider.answer(request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            // It fails when its client ends in the middle of a request, as load generators do.
            let _ = connection.await;
        });
    }
}

impl Provider {
    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, mut body) = request.into_parts();
        if head.uri.path() == "/refused" {
            let refused = self.refused.swap(0, Relaxed).to_string();
            return Ok(Response::new(refused.into()));
        }
        let mut first_byte_at = None;
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                break;
            }
            first_byte_at.get_or_insert_with(now);
        }
        let is_refused = head.headers.get("x-api-key") == Some(&self.first_key)
            && refuse_every(head.uri.query())
                .is_some_and(|n| self.presented.fetch_add(1, Relaxed) % n == n - 1);
        let mut response = Response::new(Full::from(if is_refused { REFUSAL } else { ANSWER }));
        if is_refused {
            self.refused.fetch_add(1, Relaxed);
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            let headers = response.headers_mut();
            headers.insert("retry-after", HeaderValue::from_static("30"));
        }
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert(
            "request-id",
            HeaderValue::from_static("req_018EeWyXxfu5pfWkrYcMdjWG"),
        );
        if let Some(at) = first_byte_at {
            headers.insert(
                FIRST_BYTE_AT,
                HeaderValue::from_str(&at.to_string()).unwrap(),
            );
        }
        Ok(response)
    }
}

fn refuse_every(query: Option<&str>) -> Option<usize> {
    query?.strip_prefix("refuse=")?.parse().ok()
}

/// The one clock that two processes share, in nanoseconds since 1970.
pub fn now() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is after 1970").as_nanos()
}
