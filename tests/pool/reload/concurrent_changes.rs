//! Requests on many threads while the list changes under them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use test_support::mock::{Body, key_of, layer, request, response};
use tokio::time::timeout;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_key_failover::pool::{KeyPool, KeyState, NewKey};
use tower_key_failover::{RequestBody, ResponseBody};

const REQUESTS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_succeed_during_concurrent_changes_and_use_no_removed_key() {
    let good = NewKey::new("good").group("org");
    let pool = Arc::new(KeyPool::new(["k0"]).unwrap());
    pool.replace_keys([good]).unwrap();
    // The lists are numbered, and each has one key that names its number and refuses.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let provider = {
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<RequestBody<Body>>| {
            let key = key_of(&request).to_owned();
            let status = if key == "good" { 200 } else { 429 };
            seen.lock().unwrap().push(key);
            async move {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(response(status))
            }
        })
    };
    let service = layer(&pool).layer(provider);
    let changer = {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            for number in 1..=1_000 {
                let own = NewKey::new(format!("list-{number}"));
                let good = NewKey::new("good").group("org");
                pool.replace_keys([own, good]).unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    storm(&service).await;
    changer.await.unwrap();
    assert_eq!(pool.states()[1], KeyState::Valid);

    // All changes are made: nothing that was removed is seen any more.
    seen.lock().unwrap().clear();
    pool.reinstate(0).unwrap();
    storm(&service).await;
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|key| key == "good" || key == "list-1000"));
}

async fn storm<S>(service: &S)
where
    S: Service<Request<Body>, Response = Response<ResponseBody<Body>>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let requests: Vec<_> = (0..REQUESTS)
        .map(|_| tokio::spawn(service.clone().oneshot(request("one"))))
        .collect();
    for request in requests {
        let response = timeout(Duration::from_secs(30), request).await.unwrap();
        let response = response.unwrap().unwrap();
        assert_eq!(response.status(), 200, "{:?}", response.body().failover());
    }
}

#[test]
fn concurrent_changes_are_all_applied() {
    let pool = KeyPool::new(["k"]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for key in 0..50 {
                    pool.add_key(format!("k-{thread}-{key}")).unwrap();
                }
            });
        }
    });
    assert_eq!(pool.len(), 201);
}
