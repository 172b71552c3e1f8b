//! Small frames that hyper hands on, each of which pins the read buffer that it was cut from.

use std::convert::Infallible;

use crate::support::{is_refused, layer};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;

const CHUNKS: usize = 20_000;

/// A provider that reads a request to its end.
async fn provider(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let is_refused = is_refused(&request);
    let (mut body, mut read) = (request.into_body(), 0);
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().data_ref().unwrap().len();
    }
    assert_eq!(read, CHUNKS);
    let mut response = Response::new(Empty::new());
    if is_refused {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    Ok(response)
}

/// The most that is held at once while a client sends its chunks through a gateway with these keys.
fn peak<const N: usize>(keys: [&'static str; N]) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let measured = allocation_counter::measure(|| runtime.block_on(upload_through(keys)));
    measured.bytes_max
}

async fn upload_through<const N: usize>(keys: [&'static str; N]) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = upstream.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = upstream.accept().await.unwrap();
            let served = http1::Builder::new();
            tokio::spawn(served.serve_connection(TokioIo::new(stream), service_fn(provider)));
        }
    });

    let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gateway.local_addr().unwrap();
    let service = ServiceBuilder::new()
        .map_request(move |mut request: Request<Incoming>| {
            *request.uri_mut() = format!("http://{authority}/").parse().unwrap();
            request
        })
        .layer(layer(keys))
        .service(Client::builder(TokioExecutor::new()).build_http());
    tokio::spawn(async move {
        let (stream, _) = gateway.accept().await.unwrap();
        let service = TowerToHyperService::new(service);
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await
    });

    let mut client = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: gateway.test\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    client
        .write_all("1\r\nx\r\n".repeat(CHUNKS).as_bytes())
        .await
        .unwrap();
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let mut response = [0; 15];
    client.read_exact(&mut response).await.unwrap();
    assert_eq!(&response, b"HTTP/1.1 200 OK");
}

#[test]
fn twenty_thousand_one_byte_chunks_hold_at_most_a_few_mib() {
    let (two, one) = (peak(["refused", "good"]), peak(["good"]));
    println!("{two} bytes over two keys, {one} over one");
    assert!(
        two < one + (1 << 20),
        "{two} bytes over two keys, {one} over one"
    );
}
