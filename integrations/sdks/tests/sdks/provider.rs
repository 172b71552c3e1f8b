//! A provider on loopback that responds by key, in the formats of OpenAI and Anthropic.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_key_failover::KeyPool;

/// The last key of each pool. The others are refused.
pub const GOOD: &str = "sk-good-0123456789abcdef";
const LIMITED: &str = "sk-limited-0123456789abcdef";
const REVOKED: &str = "sk-revoked-0123456789abcdef";

type Keys = Arc<Mutex<Vec<String>>>;

pub struct Provider {
    address: SocketAddr,
    keys: Keys,
}

impl Provider {
    pub async fn start() -> Self {
        let keys = Keys::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(respond)
            .with_state(Arc::clone(&keys));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, keys }
    }

    pub fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The keys of all requests so far.
    pub fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }
}

pub fn three_keys() -> KeyPool {
    KeyPool::new([LIMITED, REVOKED, GOOD]).unwrap()
}

pub fn refused_keys() -> KeyPool {
    KeyPool::new([LIMITED, REVOKED]).unwrap()
}

/// What the provider sees of a request that uses [`three_keys`].
pub fn all_keys() -> [&'static str; 3] {
    [LIMITED, REVOKED, GOOD]
}

async fn respond(State(keys): State<Keys>, headers: HeaderMap, body: String) -> Response {
    let value = headers.get("authorization").or(headers.get("x-api-key"));
    let key = value.map_or("", |value| value.to_str().unwrap());
    let key = key.trim_start_matches("Bearer ").to_owned();
    keys.lock().unwrap().push(key.clone());
    let request: Value = serde_json::from_str(&body).unwrap_or_default();
    match &*key {
        LIMITED => refuse(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error"),
        GOOD if request["stream"] == true => stream(),
        GOOD => json(&completion()),
        _ => refuse(StatusCode::UNAUTHORIZED, "authentication_error"),
    }
}

fn refuse(status: StatusCode, kind: &str) -> Response {
    let error = json!({ "error": { "type": kind, "message": kind, "code": null, "param": null } });
    (status, [("retry-after", "7")], json(&error)).into_response()
}

fn json(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

fn completion() -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-test",
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": { "role": "assistant", "content": "hello", "refusal": null },
        }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
    })
}

fn stream() -> Response {
    let chunk = |text: &str, finish: Value| {
        let chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-test",
            "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": finish }],
        });
        format!("data: {chunk}\n\n")
    };
    let events = [
        chunk("hel", Value::Null),
        chunk("lo", Value::Null),
        chunk("", json!("stop")),
        "data: [DONE]\n\n".to_owned(),
    ];
    ([("content-type", "text/event-stream")], events.concat()).into_response()
}
