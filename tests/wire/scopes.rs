//! A model that is rate-limited next to one that is not, for each kind of provider.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use test_support::mock::pool;
use test_support::wire::{Protocol, client, within};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_key_failover::model_scope::{self, ModelScopeLayer};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};

/// A kind of provider.
#[derive(Clone, Copy)]
struct Kind {
    provider: fn() -> Provider,
    path: fn(&str) -> String,
    body: fn(&str) -> Value,
    /// The error of a rate limit.
    limited: fn() -> Value,
    /// The error of a model that the key may not use, and its status.
    no_access: fn() -> (u16, Value),
    /// The error of an account without credit, and its status.
    no_credit: fn() -> (u16, Value),
}

const OPENAI: Kind = Kind {
    provider: Provider::openai,
    path: |_| "/v1/chat/completions".to_owned(),
    body: |model| json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] }),
    limited: || json!({ "error": { "message": "Rate limit reached", "type": "tokens", "code": "rate_limit_exceeded" } }),
    no_access: || {
        (
            403,
            json!({ "error": { "message": "Project `p` does not have access to model `m`", "code": "model_not_found" } }),
        )
    },
    no_credit: || {
        (
            429,
            json!({ "error": { "type": "insufficient_quota", "code": "insufficient_quota" } }),
        )
    },
};

const GEMINI: Kind = Kind {
    provider: Provider::gemini,
    path: |model| format!("/v1beta/models/{model}:generateContent"),
    body: |_| json!({ "contents": [{ "parts": [{ "text": "hi" }] }] }),
    limited: || {
        json!({ "error": { "code": 429, "status": "RESOURCE_EXHAUSTED", "details": [
        { "violations": [{ "quotaId": "GenerateRequestsPerMinutePerProjectPerModel" }] },
    ] } })
    },
    no_access: || {
        (
            429,
            json!({ "error": { "code": 429, "message": "Quota exceeded, limit: 0, model: m" } }),
        )
    },
    no_credit: || {
        (
            402,
            json!({ "error": { "message": "Your prepayment credits are depleted." } }),
        )
    },
};

const AZURE: Kind = Kind {
    provider: Provider::azure_openai,
    path: |model| format!("/openai/deployments/{model}/chat/completions?api-version=2024-10-21"),
    body: |_| json!({ "messages": [{ "role": "user", "content": "hi" }] }),
    limited: || json!({ "error": { "code": "429", "message": "Rate limit is exceeded. Try again later." } }),
    no_access: || {
        (
            403,
            json!({ "error": { "code": "403", "message": "No access to the model" } }),
        )
    },
    no_credit: || {
        (
            403,
            json!({ "error": { "code": "403", "message": "Out of call volume quota" } }),
        )
    },
};

const BEDROCK: Kind = Kind {
    provider: Provider::bedrock,
    path: |model| format!("/model/{model}-v1%3A0/converse"),
    body: |_| json!({ "messages": [{ "role": "user", "content": [{ "text": "hi" }] }] }),
    limited: || json!({ "message": "Too many requests, please wait before trying again." }),
    no_access: || {
        (
            403,
            json!({ "message": "You don't have access to the model with the specified model ID." }),
        )
    },
    no_credit: || {
        (
            400,
            json!({ "__type": "ServiceQuotaExceededException", "message": "quota" }),
        )
    },
};

const VERTEX: Kind = Kind {
    provider: Provider::vertex,
    path: |model| {
        format!("/v1/projects/p/locations/l/publishers/google/models/{model}:generateContent")
    },
    // A limit of the whole project.
    no_credit: || {
        (
            429,
            json!({ "error": { "code": 429, "status": "RESOURCE_EXHAUSTED", "details": [
                { "violations": [{ "quotaId": "GenerateRequestsPerDayPerProject" }] },
            ] } }),
        )
    },
    ..GEMINI
};

const ANTHROPIC: Kind = Kind {
    provider: Provider::anthropic,
    path: |_| "/v1/messages".to_owned(),
    body: |model| json!({ "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }], "model": model }),
    limited: || json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "This request would exceed the rate limit" } }),
    ..OPENAI
};

/// What the upstream does with a key and a model: the status of its response.
type Rule = fn(key: &str, model: &str) -> Reply;

#[derive(Clone, Copy)]
enum Reply {
    Ok,
    Limited,
    NoAccess,
    NoCredit,
}

struct Upstream {
    kind: Kind,
    address: std::net::SocketAddr,
    /// The keys and models that arrived.
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

const MODELS: [&str; 3] = ["hot", "cold", "cool"];

impl Upstream {
    async fn start(kind: Kind, rule: Rule) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let log = Arc::clone(&log);
                let service =
                    service_fn(move |request| respond(kind, rule, Arc::clone(&log), request));
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            kind,
            address,
            seen,
        }
    }

    /// The keys that were used since the last call.
    fn keys(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.into_iter().map(|(key, _)| key).collect()
    }

    fn request(&self, model: &str) -> Request<Full<Bytes>> {
        let uri = format!("http://{}{}", self.address, (self.kind.path)(model));
        let request = Request::post(uri).header("content-type", "application/json");
        let body = (self.kind.body)(model).to_string();
        request.body(Full::from(body)).unwrap()
    }
}

async fn respond(
    kind: Kind,
    rule: Rule,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let headers = ["authorization", "api-key", "x-api-key", "x-goog-api-key"];
    let key = headers.iter().find_map(|name| request.headers().get(*name));
    let key = key
        .unwrap()
        .to_str()
        .unwrap()
        .trim_start_matches("Bearer ")
        .to_owned();
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let model = MODELS
        .iter()
        .find(|model| body["model"] == **model || path.contains(**model));
    let model = (*model.unwrap()).to_owned();
    let (status, body) = match rule(&key, &model) {
        Reply::Ok => (200, json!({ "ok": true })),
        Reply::Limited => (429, (kind.limited)()),
        Reply::NoAccess => (kind.no_access)(),
        Reply::NoCredit => (kind.no_credit)(),
    };
    seen.lock().unwrap().push((key, model));
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    Ok(response.body(Full::from(body.to_string())).unwrap())
}

type Body = RequestBody<model_scope::RequestBody<Full<Bytes>>>;

fn stack(
    provider: Provider,
    pool: &Arc<KeyPool>,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<tower_key_failover::ResponseBody<Incoming>>,
    Error: std::fmt::Debug,
> + Clone {
    let inner: hyper_util::client::legacy::Client<_, Body> = client(Protocol::Http1);
    ServiceBuilder::new()
        .layer(ModelScopeLayer::new())
        .layer(KeyFailoverLayer::new(provider, Arc::clone(pool)))
        .service(inner)
}

macro_rules! for_each_kind {
    ($(async fn $name:ident($kind:ident: Kind) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn run($kind: Kind) $body

            #[tokio::test]
            async fn with_the_model_in_the_body() {
                within(run(OPENAI)).await;
            }

            #[tokio::test]
            async fn with_vertexs_path() {
                within(run(VERTEX)).await;
            }

            #[tokio::test]
            async fn with_geminis_path() {
                within(run(GEMINI)).await;
            }

            #[tokio::test]
            async fn with_azures_deployment() {
                within(run(AZURE)).await;
            }

            #[tokio::test]
            async fn with_bedrocks_path() {
                within(run(BEDROCK)).await;
            }
        }
    )*};
}

for_each_kind! {
    async fn a_hot_model_leaves_the_key_to_a_cold_one(kind: Kind) {
        let rule: Rule = |key, model| match (key, model) {
            ("k0", "hot") => Reply::Limited,
            _ => Reply::Ok,
        };
        let (upstream, pool) = (Upstream::start(kind, rule).await, pool(["k0", "k1"]));
        let service = stack((kind.provider)(), &pool);
        let send = |model| service.clone().oneshot(upstream.request(model));

        assert_eq!(send("hot").await.unwrap().status(), StatusCode::OK);
        assert_eq!(upstream.keys(), ["k0", "k1"]);
        for _ in 0..3 {
            assert_eq!(send("hot").await.unwrap().status(), StatusCode::OK);
            assert_eq!(send("cold").await.unwrap().status(), StatusCode::OK);
            assert_eq!(upstream.keys(), ["k1", "k0"]);
        }
        assert_eq!(pool.states(), [KeyState::Valid; 2]);
        let scopes = &pool.snapshot().keys[0].scopes;
        assert_eq!(scopes.len(), 1);
        assert!(scopes[0].scope.as_str().contains("hot"), "{scopes:?}");
    }

    async fn only_requests_for_the_hot_model_are_exhausted(kind: Kind) {
        let rule: Rule = |_, model| match model {
            "hot" => Reply::Limited,
            _ => Reply::Ok,
        };
        let (upstream, pool) = (Upstream::start(kind, rule).await, pool(["k0", "k1"]));
        let service = stack((kind.provider)(), &pool);
        let send = |model| service.clone().oneshot(upstream.request(model));

        let response = send("hot").await.unwrap();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "60");
        assert_eq!(upstream.keys(), ["k0", "k1"]);
        assert_eq!(send("hot").await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(upstream.keys().is_empty());
        assert_eq!(send("cold").await.unwrap().status(), StatusCode::OK);
        assert_eq!(upstream.keys(), ["k0"]);
    }

    async fn a_model_that_a_key_may_not_use_is_left_to_the_others(kind: Kind) {
        let rule: Rule = |key, model| match (key, model) {
            ("k0", "hot") => Reply::NoAccess,
            _ => Reply::Ok,
        };
        let (upstream, pool) = (Upstream::start(kind, rule).await, pool(["k0", "k1"]));
        let service = stack((kind.provider)(), &pool);
        let send = |model| service.clone().oneshot(upstream.request(model));

        assert_eq!(send("hot").await.unwrap().status(), StatusCode::OK);
        assert_eq!(upstream.keys(), ["k0", "k1"]);
        assert_eq!(send("hot").await.unwrap().status(), StatusCode::OK);
        assert_eq!(send("cold").await.unwrap().status(), StatusCode::OK);
        assert_eq!(upstream.keys(), ["k1", "k0"]);
    }

    async fn an_account_without_credit_is_out_for_all_models(kind: Kind) {
        let rule: Rule = |key, _| match key {
            "k0" => Reply::NoCredit,
            _ => Reply::Ok,
        };
        let (upstream, pool) = (Upstream::start(kind, rule).await, pool(["k0", "k1"]));
        let service = stack((kind.provider)(), &pool);
        let send = |model| service.clone().oneshot(upstream.request(model));

        assert_eq!(send("hot").await.unwrap().status(), StatusCode::OK);
        assert_eq!(upstream.keys(), ["k0", "k1"]);
        assert_eq!(send("cold").await.unwrap().status(), StatusCode::OK);
        assert_eq!(upstream.keys(), ["k1"]);
        assert!(matches!(pool.states()[0], KeyState::Temporary { .. }));
    }

    async fn two_limited_models_are_a_limited_key(kind: Kind) {
        let rule: Rule = |key, _| match key {
            "k0" => Reply::Limited,
            _ => Reply::Ok,
        };
        let (upstream, pool) = (Upstream::start(kind, rule).await, pool(["k0", "k1"]));
        let service = stack((kind.provider)(), &pool);
        let send = |model| service.clone().oneshot(upstream.request(model));

        send("hot").await.unwrap();
        send("cold").await.unwrap();
        assert_eq!(upstream.keys(), ["k0", "k1", "k0", "k1"]);
        send("cool").await.unwrap();
        assert_eq!(upstream.keys(), ["k1"]);
    }
}

/// The keys that requests for `hot` and then for `cold` use, with a provider that limits the first key for
/// the hot model.
async fn keys_of_a_cold_model(kind: Kind, provider: Provider) -> Vec<String> {
    let rule: Rule = |key, model| match (key, model) {
        ("k0", "hot") => Reply::Limited,
        _ => Reply::Ok,
    };
    let upstream = Upstream::start(kind, rule).await;
    let pool = pool(["k0", "k1"]);
    let service = stack(provider, &pool);
    for model in ["hot", "cold", "hot"] {
        let response = service.clone().oneshot(upstream.request(model)).await;
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }
    upstream.keys()
}

#[tokio::test]
async fn a_hot_model_in_a_body_leaves_the_key_to_a_cold_one_if_the_provider_limits_models() {
    within(async {
        let keys = keys_of_a_cold_model(ANTHROPIC, Provider::anthropic()).await;
        assert_eq!(keys, ["k0", "k1", "k0", "k1"]);
        for name in [
            "openai",
            "groq",
            "deepseek",
            "openrouter",
            "cohere",
            "xai",
            "together",
            "bearer",
        ] {
            assert_eq!(
                keys_of_a_cold_model(OPENAI, Provider::named(name).unwrap()).await,
                ["k0", "k1", "k0", "k1"],
                "{name}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_hot_model_in_a_body_is_a_limited_key_if_the_provider_limits_accounts() {
    within(async {
        for name in ["mistral", "perplexity"] {
            assert_eq!(
                keys_of_a_cold_model(OPENAI, Provider::named(name).unwrap()).await,
                ["k0", "k1", "k1", "k1"],
                "{name}"
            );
        }
    })
    .await;
}
