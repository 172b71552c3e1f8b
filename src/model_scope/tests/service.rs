use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_test::mock;

use super::{Script, Step};
use crate::model_scope::{ModelScope, ModelScopeLayer, RequestBody};
use crate::pool::{KeyChoice, Scope};

const BODY: &str = r#"{"model":"gpt-4o"}"#;

fn json(body: Script) -> Request<Script> {
    let request = Request::post("/").header("content-type", "application/json");
    request.body(body).unwrap()
}

fn whole(text: &str) -> Script {
    Script::new([Step::Data(text.into())])
}

/// The choice that the inner service sees, and the body.
async fn pass(request: Request<Script>) -> (Option<KeyChoice>, Vec<u8>) {
    let echo = service_fn(|request: Request<RequestBody<Script>>| async move {
        let choice = request.extensions().get::<KeyChoice>().cloned();
        let body = request.into_body().collect().await?.to_bytes();
        let mut response = Response::new(Full::new(body));
        response.extensions_mut().insert(choice);
        Ok::<_, &'static str>(response)
    });
    let service = ModelScopeLayer::new().layer(echo);
    let response = service.oneshot(request).await.unwrap();
    let choice = response.extensions().get::<Option<KeyChoice>>().cloned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (choice.unwrap(), body.to_vec())
}

fn scope_of(choice: Option<&KeyChoice>) -> Option<&str> {
    choice?.scope_ref().map(Scope::as_str)
}

#[tokio::test]
async fn a_json_request_gets_its_model_as_scope() {
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;charset=utf-8",
        " application/json ",
        "application/vnd.api+json",
    ] {
        let mut request = json(whole(BODY));
        request
            .headers_mut()
            .insert("content-type", kind.trim_start().parse().unwrap());
        let (choice, body) = pass(request).await;
        assert_eq!(scope_of(choice.as_ref()), Some("gpt-4o"), "{kind}");
        assert_eq!(body, BODY.as_bytes());
    }
}

#[tokio::test]
async fn other_requests_pass_without_a_scope() {
    let with = |name: &'static str, value: &'static str| {
        let mut request = json(whole(BODY));
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let mut without_type = json(whole(BODY));
    without_type.headers_mut().clear();
    let mut connect = json(whole(BODY));
    *connect.method_mut() = Method::CONNECT;
    for request in [
        with("content-type", "text/plain"),
        with("content-type", "application/jsonl"),
        with("content-type", "json"),
        with("content-type", "multipart/form-data; boundary=x"),
        with("content-encoding", "gzip"),
        without_type,
        connect,
    ] {
        let shown = format!("{request:?}");
        let (choice, body) = pass(request).await;
        assert_eq!(choice, None, "{shown}");
        assert_eq!(body, BODY.as_bytes(), "{shown}");
    }
}

#[tokio::test]
async fn a_scope_that_is_there_is_kept_and_the_body_is_not_read() {
    let choice = KeyChoice::new().scope(Scope::new("mine").unwrap());
    let mut request = json(Script::new([Step::Stall]));
    request.extensions_mut().insert(choice.clone());
    let (service, mut handle) = mock::pair::<Request<RequestBody<Script>>, Response<()>>();
    let mut service = ModelScope::new(service);
    handle.allow(1);
    service.ready().await.unwrap();
    let mut future = spawn(service.call(request));
    assert!(future.poll().is_pending());
    let (request, _) = handle.next_request().now_or_never().unwrap().unwrap();
    assert_eq!(request.extensions().get(), Some(&choice));
}

#[tokio::test]
async fn what_else_a_request_chooses_is_kept() {
    let mut request = json(whole(BODY));
    request
        .extensions_mut()
        .insert(KeyChoice::new().affinity(7).pin_key("a"));
    let (choice, _) = pass(request).await;
    let expected = KeyChoice::new()
        .affinity(7)
        .pin_key("a")
        .scope(Scope::new("gpt-4o").unwrap());
    assert_eq!(choice, Some(expected));
}

#[tokio::test]
async fn a_request_without_a_model_gets_no_extension() {
    for text in [
        "",
        "{}",
        "not json",
        r#"{"model":7}"#,
        r#"{"model":"tab\t"}"#,
    ] {
        let (choice, body) = pass(json(whole(text))).await;
        assert_eq!(choice, None, "{text}");
        assert_eq!(body, text.as_bytes());
    }
}

#[tokio::test]
async fn a_request_that_has_no_body_passes_at_once() {
    let (service, mut handle) = mock::pair::<Request<RequestBody<Empty<Bytes>>>, Response<()>>();
    let mut service = ModelScope::new(service);
    handle.allow(1);
    service.ready().await.unwrap();
    let request = Request::post("/").header("content-type", "application/json");
    let _future = service.call(request.body(Empty::new()).unwrap());
    // The inner service has it before the future was polled.
    assert!(handle.next_request().now_or_never().is_some());
}

#[tokio::test]
async fn the_service_that_is_ready_takes_the_request() {
    let (service, mut handle) = mock::pair::<Request<RequestBody<Script>>, Response<()>>();
    let mut service = spawn_service(service);
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    // A mock panics if it is called without being ready.
    let mut first = spawn(service.call(json(whole(BODY))));
    assert!(first.poll().is_pending());
    let (request, send) = handle.next_request().now_or_never().unwrap().unwrap();
    assert_eq!(scope_of(request.extensions().get()), Some("gpt-4o"));
    // The next request needs readiness of its own.
    assert!(service.poll_ready().is_pending());
    send.send_response(Response::new(()));
    assert!(first.poll().is_ready());
}

fn spawn_service<S>(service: S) -> mock::Spawn<ModelScope<S>> {
    mock::Spawn::new(ModelScope::new(service))
}

#[tokio::test]
async fn an_error_of_the_inner_service_is_returned() {
    let failing =
        service_fn(|_: Request<RequestBody<Script>>| async { Err::<Response<()>, _>("refused") });
    let service = ModelScopeLayer::new().layer(failing);
    assert_eq!(
        service.oneshot(json(whole(BODY))).await.unwrap_err(),
        "refused"
    );
}

/// Counts its clones that are alive.
#[derive(Clone)]
struct Counted {
    _alive: Arc<()>,
}

impl Service<Request<RequestBody<Script>>> for Counted {
    type Response = Response<()>;
    type Error = &'static str;
    type Future = std::future::Pending<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<Script>>) -> Self::Future {
        std::future::pending()
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_at_any_poll_leaves_nothing_behind() {
    for polls in 0..8 {
        let alive = Arc::new(());
        let mut service = ModelScope::new(Counted {
            _alive: Arc::clone(&alive),
        });
        let frames = BODY
            .as_bytes()
            .chunks(3)
            .flat_map(|frame| [Step::Data(frame.to_vec()), Step::Wait]);
        let future = service.call(json(Script::new(frames)));
        {
            let mut future = pin!(future);
            for _ in 0..polls {
                assert!(future.as_mut().now_or_never().is_none());
            }
        }
        drop(service);
        assert_eq!(Arc::strong_count(&alive), 1, "{polls}");
    }
}

#[test]
fn the_types_are_send_and_show_no_content() {
    fn check<T: Send + std::fmt::Debug>(value: &T) -> String {
        format!("{value:?}")
    }
    let mut service = ModelScope::new(Counted {
        _alive: Arc::new(()),
    });
    let future = service.call(json(whole(BODY)));
    fn is_future<F: Future>(_: &F) {}
    is_future(&future);
    assert_eq!(check(&future), r#"ResponseFuture { state: "Reading", .. }"#);
    let body = RequestBody::unread(whole(BODY));
    assert!(!check(&body).contains("gpt"));
    assert_eq!(check(&ModelScopeLayer::new()), "ModelScopeLayer");
}
