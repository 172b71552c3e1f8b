//! What contains a key is removed from a forwarded response.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::ext::ReasonPhrase;
use test_support::body::{Source, Step, chunked};
use test_support::mock::{layer, pool, request};
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyPool, Outcome, RequestBody, ResponseBody};

const SECRET: &str = "sk-canary/canary-0123";

/// Forms in which the key can be part of text.
const FORMS: [&str; 6] = [
    SECRET,
    "sk%2Dcanary%2Fcanary%2D0123",
    r"sk-canary\/canary\u002d0123",
    "sk%252Dcanary%252Fcanary-0123",
    "736b2d63616e6172792f63616e6172792d30313233",
    "eDpzay1jYW5hcnkvY2FuYXJ5LTAxMjM=",
];

fn body(data: &str) -> Source {
    let (body, remote) = chunked();
    remote.data(data.to_owned());
    remote.push(Step::End);
    body
}

fn say(what: &str, body: Source) -> Response<Source> {
    let response = Response::builder().status(400).header("x-say", what);
    response.body(body).unwrap()
}

async fn forwarded(response: Response<Source>) -> Response<ResponseBody<Source>> {
    let pool = pool([SECRET]);
    let response = respond(&pool, vec![response]).await;
    let info = response.body().failover().unwrap();
    assert_eq!(info.outcome(), Outcome::Forwarded);
    assert_eq!(pool.states(), [KeyState::Valid]);
    response
}

/// Sends one request, to which the provider sends these responses.
async fn respond(
    pool: &Arc<KeyPool>,
    responses: Vec<Response<Source>>,
) -> Response<ResponseBody<Source>> {
    let responses = Arc::new(std::sync::Mutex::new(responses.into_iter()));
    let provider = service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
        let response = responses.lock().unwrap().next().unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let service = layer(pool).layer(provider);
    service.oneshot(request("one")).await.unwrap()
}

#[tokio::test]
async fn a_header_that_contains_the_key_is_removed_from_every_forwarded_response() {
    for form in FORMS {
        for what in ["keep", "inspect", "forward"] {
            for status in [200, 302, 400] {
                let mut response = say(what, body(""));
                *response.status_mut() = status.try_into().unwrap();
                let echo = format!("/login?a=b&key={form}&c=d").parse().unwrap();
                response.headers_mut().insert("location", echo);
                let id = "an-identifier-that-is-longer-than-the-key";
                response
                    .headers_mut()
                    .insert("x-request-id", id.parse().unwrap());
                let response = forwarded(response).await;
                assert_eq!(response.status(), status);
                assert_eq!(response.headers().get("location"), None, "{form}");
                assert_eq!(response.headers()["x-request-id"], id);
            }
        }
    }
}

#[tokio::test]
async fn a_reason_phrase_that_contains_the_key_is_removed() {
    for (phrase, stays) in [
        (format!("No {SECRET} here"), false),
        ("No sk%2Dcanary%2Fcanary-0123 here".to_owned(), false),
        ("No key here".to_owned(), true),
    ] {
        for what in ["keep", "inspect", "forward"] {
            let mut response = say(what, body(""));
            let value = ReasonPhrase::try_from(phrase.clone()).unwrap();
            response.extensions_mut().insert(value);
            let response = forwarded(response).await;
            let has_phrase = response.extensions().get::<ReasonPhrase>().is_some();
            assert_eq!(has_phrase, stays, "{phrase:?}");
        }
    }
}

#[tokio::test]
async fn an_inspected_body_that_contains_the_key_is_removed() {
    for form in FORMS {
        for what in ["inspect", "peek"] {
            for verdict in ["keep", "forward"] {
                let mut response = say(what, body(&format!("{verdict}: {form}!")));
                let headers = response.headers_mut();
                headers.insert("content-length", "1000".parse().unwrap());
                headers.insert("content-encoding", "identity".parse().unwrap());
                headers.insert("content-type", "text/plain".parse().unwrap());
                let response = forwarded(response).await;
                assert_eq!(response.status(), 400);
                assert_eq!(response.headers().get("content-length"), None);
                assert_eq!(response.headers().get("content-encoding"), None);
                assert_eq!(response.headers()["content-type"], "text/plain");
                assert_eq!(response.body().size_hint().exact(), Some(0));
                let body = response.into_body().collect().await.unwrap();
                assert_eq!(body.to_bytes(), "", "{form}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_is_cut_into_frames_is_found() {
    let (body, remote) = chunked();
    for byte in format!("keep {SECRET}").bytes() {
        remote.data(vec![byte]);
    }
    remote.push(Step::End);
    let response = forwarded(say("inspect", body)).await;
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "");
}

#[tokio::test]
async fn a_key_that_continues_behind_what_was_inspected_is_found() {
    let (body, remote) = chunked();
    let padding = "x".repeat(64 * 1024 - 10);
    remote.data(format!("{padding}{}", &SECRET[..10]));
    remote.data(&SECRET[10..]);
    remote.push(Step::End);
    let response = forwarded(say("inspect", body)).await;
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "");
}

#[cfg(feature = "decompress")]
#[tokio::test]
async fn a_compressed_body_that_contains_the_key_is_removed_and_no_other() {
    use std::io::Write;

    for (text, stays) in [
        (format!("no {SECRET} here"), false),
        ("no".to_owned(), true),
    ] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        let compressed = encoder.finish().unwrap();
        let (body, remote) = chunked();
        remote.data(compressed.clone());
        remote.push(Step::End);
        let mut response = say("inspect", body);
        let gzip = "gzip".parse().unwrap();
        response.headers_mut().insert("content-encoding", gzip);
        let response = forwarded(response).await;
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers().contains_key("content-encoding"), stays);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, if stays { compressed } else { Vec::new() });
    }
}

#[tokio::test]
async fn a_trailer_that_contains_the_key_is_removed() {
    for form in FORMS {
        for data in ["forward", SECRET] {
            let (body, remote) = chunked();
            remote.data(data);
            remote.push(Step::Trailers(HeaderMap::from_iter([
                ("x-echo".parse().unwrap(), form.parse().unwrap()),
                ("x-status".parse().unwrap(), "7".parse().unwrap()),
            ])));
            let response = forwarded(say("inspect", body)).await;
            let body = response.into_body().collect().await.unwrap();
            let trailers = body.trailers().unwrap();
            assert_eq!(
                (trailers.len(), &trailers["x-status"]),
                (1, &"7".parse().unwrap())
            );
        }
    }
}

#[tokio::test]
async fn a_trailer_of_a_streamed_body_that_contains_the_key_is_removed() {
    for form in FORMS {
        let (body, remote) = chunked();
        remote.data("streamed");
        let response = forwarded(say("forward", body)).await;
        remote.push(Step::Trailers(HeaderMap::from_iter([
            ("grpc-message".parse().unwrap(), form.parse().unwrap()),
            ("grpc-status".parse().unwrap(), "7".parse().unwrap()),
        ])));
        remote.push(Step::End);
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().unwrap();
        assert_eq!(
            (trailers.len(), trailers["grpc-status"].as_bytes()),
            (1, &b"7"[..])
        );
        assert_eq!(body.to_bytes(), "streamed");
    }
}

#[tokio::test]
async fn the_key_of_a_refused_attempt_is_removed_too() {
    let pool = pool([SECRET, "sk-another-canary-0123"]);
    let mut last = say("inspect", body("fine"));
    let echo = format!("a={SECRET}").parse().unwrap();
    last.headers_mut().insert("set-cookie", echo);
    let response = respond(&pool, vec![say("keep", body("")), last]).await;
    assert_eq!(response.body().failover().unwrap().attempts(), 2);
    assert_eq!(response.headers().get("set-cookie"), None);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "fine");
}

#[tokio::test]
async fn a_response_to_a_request_with_its_own_key_is_not_searched() {
    let provider = service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
        let mut response = say("inspect", body(SECRET));
        let echo = SECRET.parse().unwrap();
        response.headers_mut().insert("x-echo", echo);
        async { Ok::<_, Infallible>(response) }
    });
    let mut request = request("one");
    let own = SECRET.parse().unwrap();
    request.headers_mut().insert("x-key", own);
    let service = layer(&pool([SECRET])).layer(provider);
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["x-echo"], SECRET);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), SECRET);
}
