//! A policy for a provider that this crate does not know.
//!
//! The provider expects the key in the query, and reports refusals inside a 200:
//!
//! ```text
//! GET /forecast?city=Oslo&token=KEY
//!
//! 200 {"ok":false,"error":"limit","message":"..."}
//! ```
//!
//! ```sh
//! cargo run --example custom_policy
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri, request, response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::policy::{
    BodyEvidence, Mark, ProviderPolicy, ReadLimit, Scope, Success, Verdict, exhausted_response,
    remove_credentials, remove_query_parameters, wait_from_headers,
};
use tower_key_failover::pool::{Exhausted, Key, KeyPool};
use tower_key_failover::{BoxError, KeyFailoverLayer, RequestBody};

/// The parameter that carries the key.
const TOKEN: &str = "token";

#[derive(Clone, Copy, Debug)]
struct Weather;

impl ProviderPolicy for Weather {
    fn is_byok(&self, request: &request::Parts) -> bool {
        let query = request.uri.query().unwrap_or_default();
        let mut parameters = query.split('&').filter_map(|item| item.split_once('='));
        parameters.any(|(name, value)| name == TOKEN && !value.is_empty())
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        remove_credentials(request);
        remove_query_parameters(request, &[TOKEN]);
        let separator = if request.uri.query().is_some() {
            '&'
        } else {
            '?'
        };
        let key = percent_encoded(key.expose_secret());
        let target = format!("{}{separator}{TOKEN}={key}", request.uri);
        request.uri = target
            .parse()
            .expect("a URI with one more parameter is a URI");
    }

    fn scope(&self, _: &request::Parts) -> Option<Scope> {
        None
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        match response.status {
            // Every response is a 200, so the body has to tell.
            StatusCode::OK => Verdict::Read(ReadLimit::refusal()),
            StatusCode::TOO_MANY_REQUESTS => limited(response),
            _ => Verdict::Forward,
        }
    }

    fn classify_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        match error_of(body).as_deref() {
            Some("limit") => limited(response),
            Some("token_revoked") => Verdict::Failover(Mark::permanent()),
            // The plan of this key does not include the request. Another plan may.
            Some("plan") => Verdict::Failover(Mark::keep()),
            Some(_) | None => Verdict::Forward,
        }
    }

    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    fn success_in_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> bool {
        // `success` never refers to the body.
        false
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        exhausted_response(exhausted, |_, message| {
            json!({ "ok": false, "error": "limit", "message": message }).to_string()
        })
    }
}

fn limited(response: &response::Parts) -> Verdict {
    Verdict::Failover(Mark::temporary(wait_from_headers(response)))
}

/// The error in a complete body. An incomplete one proves nothing, and a mark affects every client.
fn error_of(body: &BodyEvidence<'_>) -> Option<String> {
    let BodyEvidence::Complete { bytes, .. } = body else {
        return None;
    };
    let body: Value = serde_json::from_slice(bytes).ok()?;
    Some(body["error"].as_str()?.to_owned())
}

/// The key as it can be in a query.
fn percent_encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let pool = Arc::new(KeyPool::new(["revoked", "limited", "good+1"])?);
    let (status, body) = forecast(&pool).await?;
    println!("{status}: {body}");
    for key in pool.keys() {
        println!("{}: {:?}", key.hint(), key.state());
    }
    Ok(())
}

/// One request through the layer.
async fn forecast(pool: &Arc<KeyPool>) -> Result<(StatusCode, String), BoxError> {
    let service = KeyFailoverLayer::new(Weather, Arc::clone(pool)).layer(service_fn(provider));
    let request = Request::get("https://weather.test/forecast?city=Oslo");
    let response = service.oneshot(request.body(Full::default())?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec())?))
}

/// The provider.
async fn provider(
    request: Request<RequestBody<Full<Bytes>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (response, body) = match token_of(request.uri()) {
        "good%2B1" => (
            Response::builder(),
            json!({ "ok": true, "forecast": "rain" }),
        ),
        "limited" => (
            Response::builder().header("retry-after", "30"),
            json!({ "ok": false, "error": "limit" }),
        ),
        _ => (
            Response::builder(),
            json!({ "ok": false, "error": "token_revoked" }),
        ),
    };
    let body = Full::from(body.to_string());
    Ok(response.body(body).expect("a valid response"))
}

fn token_of(uri: &Uri) -> &str {
    let query = uri.path_and_query().and_then(PathAndQuery::query);
    let mut parameters = query.unwrap_or_default().split('&');
    parameters
        .find_map(|item| item.strip_prefix("token="))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tower_key_failover::KeyState;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_inside_a_200_mark_their_keys_and_the_next_key_serves() {
        let pool = Arc::new(KeyPool::new(["revoked", "limited", "good+1"]).unwrap());
        let (status, body) = forecast(&pool).await.unwrap();
        assert_eq!((status, body.contains("rain")), (StatusCode::OK, true));
        let retry_after = Duration::from_secs(30);
        let cooling_down = KeyState::Temporary { retry_after };
        assert_eq!(
            pool.states(),
            [KeyState::Permanent, cooling_down, KeyState::Valid]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_exhausted_pool_responds_in_the_shape_of_the_provider() {
        let pool = Arc::new(KeyPool::new(["limited"]).unwrap());
        let (status, body) = forecast(&pool).await.unwrap();
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert!(body.contains(r#""error":"limit""#), "{body}");
    }

    #[test]
    fn a_request_with_its_own_token_is_byok_and_another_is_not() {
        for (target, expected) in [("/?token=theirs", true), ("/?token=", false), ("/", false)] {
            let (head, ()) = Request::get(target).body(()).unwrap().into_parts();
            assert_eq!(Weather.is_byok(&head), expected, "{target}");
        }
    }

    #[test]
    fn an_incomplete_refusal_is_forwarded() {
        let (head, ()) = Response::new(()).into_parts();
        let refusal = br#"{"ok":false,"error":"token_revoked"}"#;
        let verdict = Weather.classify_body(&head, &BodyEvidence::partial(refusal));
        assert_eq!(verdict, Verdict::Forward);
    }
}
