//! Bodies stream in both directions.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Channel};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;

use crate::support::{
    GOOD, LIMITED, REVOKED, Upstream, client, gateway, next_data, post, soon, upstream,
    upstream_with,
};

type Sender = http_body_util::channel::Sender<Bytes, std::io::Error>;

/// An upstream that gives the test a sender for the body of each response.
async fn scripted() -> (Upstream, mpsc::Receiver<Sender>) {
    let (senders, receiver) = mpsc::channel(1);
    let upstream = upstream_with(move |_| {
        let senders = senders.clone();
        async move {
            let (sender, body) = Channel::new(8);
            senders.send(sender).await.unwrap();
            let response = Response::builder()
                .header("content-type", "text/event-stream")
                .header("trailer", "x-checksum");
            response.body(Body::new(body)).unwrap()
        }
    });
    (upstream.await, receiver)
}

#[tokio::test]
async fn the_first_event_arrives_before_the_upstream_has_finished() {
    let (upstream, mut responses) = scripted().await;
    let gateway = gateway("anthropic", &upstream.url).keys([REVOKED, GOOD]);
    let gateway = gateway.listen().await;

    let response = soon(client().request(post(&gateway.url("/v1/messages"))))
        .await
        .unwrap();
    let mut sender = responses.recv().await.unwrap();
    let mut body = response.into_body();

    sender.send_data("data: 1\n\n".into()).await.unwrap();
    assert_eq!(next_data(&mut body).await.as_deref(), Some("data: 1\n\n"));
    sender.send_data("data: 2\n\n".into()).await.unwrap();
    drop(sender);
    assert_eq!(next_data(&mut body).await.as_deref(), Some("data: 2\n\n"));
    assert_eq!(next_data(&mut body).await, None);
}

#[tokio::test]
async fn an_upload_reaches_the_upstream_before_it_is_complete() {
    let upstream = upstream_with(async |request: Request<Body>| Response::new(request.into_body()));
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let (mut upload, body) = Channel::<Bytes, std::io::Error>::new(8);

    upload.send_data("one".into()).await.unwrap();
    let request = Request::post(gateway.url("/v1/files"))
        .body(Body::new(body))
        .unwrap();
    let response = soon(client().request(request)).await.unwrap();
    let mut echoed = response.into_body();

    assert_eq!(next_data(&mut echoed).await.as_deref(), Some("one"));
    upload.send_data("two".into()).await.unwrap();
    assert_eq!(next_data(&mut echoed).await.as_deref(), Some("two"));
}

#[tokio::test]
async fn an_upload_that_is_refused_early_continues_with_the_next_key() {
    let upstream = upstream_with(async |request: Request<Body>| {
        let body = request.into_body().collect().await.unwrap();
        Response::new(body.to_bytes().into())
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url)
        .keys([LIMITED, GOOD])
        .listen()
        .await;
    let (mut upload, body) = Channel::<Bytes, std::io::Error>::new(8);
    let request = Request::post(gateway.url("/v1/files"))
        .body(Body::new(body))
        .unwrap();

    upload.send_data("one".into()).await.unwrap();
    let sent = tokio::spawn(client().request(request));
    soon(async {
        while upstream.keys() != [LIMITED, GOOD] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    upload.send_data("two".into()).await.unwrap();
    drop(upload);

    let mut response = soon(sent).await.unwrap().unwrap().into_body();
    assert_eq!(next_data(&mut response).await.as_deref(), Some("onetwo"));
}

#[tokio::test]
async fn an_incomplete_response_is_not_forwarded_as_complete() {
    let (upstream, mut responses) = scripted().await;
    let gateway = gateway("anthropic", &upstream.url)
        .keys([GOOD])
        .listen()
        .await;

    let response = soon(client().request(post(&gateway.url("/v1/messages"))))
        .await
        .unwrap();
    let mut sender = responses.recv().await.unwrap();
    let mut body = response.into_body();
    sender.send_data("data: 1\n\n".into()).await.unwrap();
    assert!(next_data(&mut body).await.is_some());
    sender.abort(std::io::Error::other("cut"));

    assert!(soon(body.frame()).await.unwrap().is_err());
    assert_eq!(upstream.keys(), [GOOD]);
}

#[tokio::test]
async fn trailers_are_forwarded() {
    let (upstream, mut responses) = scripted().await;
    let gateway = gateway("bearer", &upstream.url).keys([GOOD]).listen().await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let mut request = post(&gateway.url("/"));
    request
        .headers_mut()
        .insert("te", HeaderValue::from_static("trailers"));

    let response = tokio::spawn(client.request(request));
    let mut sender = soon(responses.recv()).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("17"));
    sender.send_trailers(trailers).await.unwrap();
    drop(sender);

    let body = soon(response).await.unwrap().unwrap().into_body();
    let body = soon(body.collect()).await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-checksum"], "17");
}

#[tokio::test]
async fn a_request_whose_path_names_the_model_is_sent_before_its_body_arrives() {
    let upstream = upstream().await;
    let gateway = gateway("gemini", &upstream.url).keys([GOOD]);
    let gateway = gateway.listen().await;
    let (_sender, body) = Channel::<Bytes, std::io::Error>::new(1);
    let request = Request::post(gateway.url("/v1beta/models/gemini-pro:generateContent"));
    let request = request.header("content-type", "application/json");

    let response = client().request(request.body(Body::new(body)).unwrap());

    assert_eq!(soon(response).await.unwrap().status(), 200);
}
