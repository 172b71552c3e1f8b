//! The operators' access to a replica.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tower_key_failover::BoxError;

use crate::key::SoakKey;
use crate::waiting::within;

/// The token of the operators.
pub const ADMIN_TOKEN: &str = "token-of-the-soaking-operators";

#[derive(Clone, Debug)]
pub struct Admin {
    pub url: String,
}

impl Admin {
    /// The state of each key.
    pub async fn keys(&self) -> Result<Vec<Value>, BoxError> {
        match self.ask(Method::GET, "/keys").await? {
            Value::Array(keys) => Ok(keys),
            other => Err(format!("these are no keys: {other}").into()),
        }
    }

    /// How the pools are shared: `connected` or `disconnected`, for example.
    pub async fn sharing(&self) -> Result<Vec<String>, BoxError> {
        let health = self.ask(Method::GET, "/healthz").await?;
        let pools = health["replicas"].as_object().into_iter().flatten();
        let states = pools.map(|(_, pool)| pool["state"].as_str().unwrap_or_default().to_owned());
        Ok(states.collect())
    }

    /// Disables or reinstates a key.
    pub async fn change(&self, key: &SoakKey, position: u64, what: &str) -> Result<(), BoxError> {
        let (route, hint) = (key.route, key.hint());
        let path = format!("/keys/{position}/{what}?pool={route}&hint={hint}");
        self.ask(Method::POST, &path).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Value, BoxError> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let asked = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(AUTHORIZATION, format!("Bearer {ADMIN_TOKEN}"))
            .body(Empty::<Bytes>::new())?;
        let responded = async {
            let response = client.request(asked).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            match status.is_success() {
                true => Ok(serde_json::from_slice(&body)?),
                false => Err(BoxError::from(format!("{path}: {status} {body:?}"))),
            }
        };
        within(5, responded).await?
    }
}
