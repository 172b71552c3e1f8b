//! A provider that refuses some keys.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Builder;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::{KeyChoice, Scope};
use tower_key_failover::{KeyFailoverLayer, RequestBody};

use crate::replica::Replica;

/// The provider as one replica sees it.
#[derive(Clone, Default)]
pub(crate) struct Upstream(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// Keys that are dead.
    refuses: HashSet<&'static str>,
    /// Keys and models that are rate-limited, with the seconds to wait.
    limits: HashMap<(&'static str, &'static str), u64>,
    attempts: Vec<String>,
}

impl Upstream {
    pub(crate) fn refusing(keys: impl IntoIterator<Item = &'static str>) -> Self {
        let upstream = Self::default();
        upstream.0.lock().unwrap().refuses.extend(keys);
        upstream
    }

    pub(crate) fn accept_all(&self) {
        self.0.lock().unwrap().refuses.clear();
    }

    /// Limits a key for one model.
    pub(crate) fn limit(&self, key: &'static str, model: &'static str, seconds: u64) {
        let mut seen = self.0.lock().unwrap();
        seen.limits.insert((key, model), seconds);
    }

    pub(crate) fn attempts(&self) -> usize {
        self.0.lock().unwrap().attempts.len()
    }

    pub(crate) fn attempts_with(&self, key: &str) -> usize {
        let seen = self.0.lock().unwrap();
        seen.attempts.iter().filter(|used| *used == key).count()
    }

    /// Sends a request through the layer of `replica`.
    pub(crate) async fn request(&self, replica: &Replica) -> StatusCode {
        let request = Request::post("https://api.openai.com/v1/responses");
        self.send(replica, request).await
    }

    /// Sends a request for a model.
    pub(crate) async fn request_for(&self, replica: &Replica, model: &'static str) -> StatusCode {
        let choice = KeyChoice::new().scope(Scope::new(model).unwrap());
        let request = Request::post("https://api.openai.com/v1/responses");
        let request = request.header("x-model", model).extension(choice);
        self.send(replica, request).await
    }

    async fn send(&self, replica: &Replica, request: Builder) -> StatusCode {
        let this = self.clone();
        let client = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
            std::future::ready(Ok::<_, Infallible>(this.answer(request.headers())))
        });
        let layer = KeyFailoverLayer::new(Provider::openai(), Arc::clone(&replica.pool));
        let service = ServiceBuilder::new().layer(layer).service(client);
        let request = request.body(Full::from("{}")).unwrap();
        service.oneshot(request).await.unwrap().status()
    }

    fn answer(&self, head: &HeaderMap) -> Response<Full<Bytes>> {
        let text = |name: &str| head.get(name).map_or("", |value| value.to_str().unwrap());
        let key = text("authorization").trim_start_matches("Bearer ");
        let mut seen = self.0.lock().unwrap();
        seen.attempts.push(key.to_owned());
        let response = match seen.limits.get(&(key, text("x-model"))) {
            Some(seconds) => Response::builder()
                .status(429)
                .header("retry-after", *seconds),
            None if seen.refuses.contains(key) => Response::builder().status(401),
            None => Response::builder(),
        };
        response.body(Full::default()).unwrap()
    }
}
