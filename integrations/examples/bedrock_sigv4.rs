//! Amazon Bedrock with several AWS credentials. Every attempt is signed with its own credential.
//!
//! A key of the pool is `ACCESS_KEY_ID:SECRET` or `ACCESS_KEY_ID:SECRET:SESSION_TOKEN`. A layer below
//! the failover layer reads the key of the attempt from the body and signs the request. The policy
//! injects nothing.
//!
//! ```sh
//! cargo run -p tower-key-failover-integrations --example bedrock_sigv4
//! ```
//!
//! The provider listens on loopback and verifies every signature with separate code.

use std::collections::HashMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{self, SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4::SigningParams;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Request, StatusCode, request};
use http_body::Body;
use http_body_util::{BodyExt, Either, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use ring::{digest, hmac};
use tokio::net::TcpListener;
use tower::layer::layer_fn;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::{Key, KeyState};
use tower_key_failover::{
    BoxError, KeyFailoverLayer, KeyPool, ProviderPolicy, RequestBody, delegate_policy,
};

/// The region and the service for which a signature is valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    pub(crate) region: &'static str,
    pub(crate) service: &'static str,
}

/// Signs `request` with `credential` at `time`.
///
/// The signature covers `host`, `content-type` and AWS's own headers. Proxies may change others.
pub(crate) fn sign(
    request: &mut Request<Bytes>,
    credential: &str,
    scope: Scope,
    time: SystemTime,
) -> Result<(), BoxError> {
    let mut parts = credential.splitn(3, ':').map(str::to_owned);
    let (Some(id), Some(secret)) = (parts.next(), parts.next()) else {
        return Err("a key of the pool is no ACCESS_KEY_ID:SECRET".into());
    };
    let mut credentials = Credentials::builder()
        .access_key_id(id)
        .secret_access_key(secret)
        .provider_name("the pool");
    credentials.set_session_token(parts.next());
    let identity = credentials.build().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(time)
        .settings(SigningSettings::default())
        .build()?
        .into();

    let mut headers = Vec::new();
    for (name, value) in request.headers() {
        if name == HOST || name == CONTENT_TYPE || name.as_str().starts_with("x-amz-") {
            headers.push((name.as_str(), value.to_str()?));
        }
    }
    let signable = SignableRequest::new(
        request.method().as_str(),
        request.uri().to_string(),
        headers.into_iter(),
        SignableBody::Bytes(request.body()),
    )?;
    let (instructions, _) = http_request::sign(signable, &parameters)?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}

/// Bedrock's policy for signing credentials. It removes the caller's credentials like any other, and
/// injects nothing.
#[derive(Debug)]
struct Signed(Provider);

impl ProviderPolicy for Signed {
    delegate_policy!(|self| self.0 =>
        is_byok, scope, classify, classify_body, success, success_in_body, exhausted_response);

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        self.0.inject_key(request, key);
        request.headers.remove(AUTHORIZATION);
    }
}

/// Signs each attempt with its key. Requests with their own signature pass unchanged.
#[derive(Clone, Debug)]
struct Signer<S> {
    inner: S,
    scope: Scope,
}

impl<S, B> Service<Request<RequestBody<B>>> for Signer<S>
where
    S: Service<Request<Either<RequestBody<B>, Full<Bytes>>>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<RequestBody<B>>) -> Self::Future {
        // Move the ready service into the future, and keep its clone.
        let clone = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, clone);
        let scope = self.scope;
        Box::pin(async move {
            let Some(attempt) = request.body().attempt().cloned() else {
                let untouched = request.map(Either::Left);
                return ready.call(untouched).await.map_err(Into::into);
            };
            // The signature covers the body, so collect it. The next attempt receives the body again.
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let mut request = Request::from_parts(head, body);
            let credential = attempt.key().expose_secret();
            sign(&mut request, credential, scope, SystemTime::now())?;
            let signed = request.map(|body| Either::Right(Full::new(body)));
            ready.call(signed).await.map_err(Into::into)
        })
    }
}

const SCOPE: Scope = Scope {
    region: "us-east-1",
    service: "bedrock",
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let account = Arc::new(Account {
        secrets: HashMap::from([("AKIDBUSY", "a-secret"), ("AKIDGOOD", "another-secret")]),
        ..Account::default()
    });
    let provider = serve(Router::new().fallback(converse).with_state(account.clone())).await?;

    let pool = Arc::new(KeyPool::new([
        "AKIDREVOKED:a-forgotten-secret",
        "AKIDBUSY:a-secret",
        "AKIDGOOD:another-secret",
    ])?);
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(
            Signed(Provider::bedrock()),
            pool.clone(),
        ))
        .layer(layer_fn(|inner| Signer {
            inner,
            scope: SCOPE,
        }))
        .service(Client::builder(TokioExecutor::new()).build_http());

    let model = "anthropic.claude-3-haiku-20240307-v1:0";
    let request = Request::post(format!("http://{provider}/model/{model}/converse"))
        .header(HOST, provider.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(r#"{"messages":[]}"#))?;
    let response = service.oneshot(request).await?;

    assert_eq!(response.status(), StatusCode::OK);
    let reply = response.into_body().collect().await?.to_bytes();
    assert_eq!(reply, r#"{"asked":{"messages":[]}}"#);
    let asked = account.asked.lock().map_err(|_| "the provider panicked")?;
    assert_eq!(*asked, ["AKIDREVOKED", "AKIDBUSY", "AKIDGOOD"]);
    println!("signed by {asked:?}, response: {reply:?}");
    assert_eq!(
        pool.states(),
        [KeyState::Permanent, KeyState::Valid, KeyState::Valid]
    );
    // Bedrock limits the rate of each model, so the second key cools down for this model only.
    let busy = &pool.snapshot().keys[1].scopes;
    assert!(matches!(busy[..], [ref model] if model.state > KeyState::Valid));
    println!("the second key cools down for {:?}", busy[0].scope);
    Ok(())
}

/// The accounts that the provider knows, and the signatures it has seen.
#[derive(Debug, Default)]
struct Account {
    secrets: HashMap<&'static str, &'static str>,
    asked: Mutex<Vec<String>>,
}

async fn converse(
    State(account): State<Arc<Account>>,
    head: request::Parts,
    body: Bytes,
) -> axum::response::Response {
    let id = access_key_id(&head.headers).unwrap_or_default().to_owned();
    let secret = account.secrets.get(&*id);
    if let Ok(mut asked) = account.asked.lock() {
        asked.push(id.clone());
    }
    let refused = |status, kind, message| {
        let body = format!(r#"{{"message":"{message}"}}"#);
        (status, [("x-amzn-errortype", kind)], body).into_response()
    };
    let Some(secret) = secret else {
        let message = "The security token included in the request is invalid.";
        return refused(
            StatusCode::FORBIDDEN,
            "UnrecognizedClientException",
            message,
        );
    };
    if !is_signed(&head, &body, secret, SCOPE) {
        let message = "The request signature we calculated does not match.";
        return refused(StatusCode::FORBIDDEN, "InvalidSignatureException", message);
    }
    if id == "AKIDBUSY" {
        let message = "Too many requests, please wait before trying again.";
        return refused(
            StatusCode::TOO_MANY_REQUESTS,
            "ThrottlingException",
            message,
        );
    }
    let asked = String::from_utf8_lossy(&body);
    format!(r#"{{"asked":{asked}}}"#).into_response()
}

fn access_key_id(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.split_once("Credential=")?.1.split('/').next()
}

/// Verifies a signature, following AWS's documentation.
pub(crate) fn is_signed(head: &request::Parts, body: &[u8], secret: &str, scope: Scope) -> bool {
    signature_matches(head, body, secret, scope).unwrap_or(false)
}

fn signature_matches(
    head: &request::Parts,
    body: &[u8],
    secret: &str,
    Scope { region, service }: Scope,
) -> Option<bool> {
    let header = |name: &str| head.headers.get(name)?.to_str().ok();
    let authorization = header("authorization")?;
    let field = |name: &str| {
        let value = authorization.split_once(name)?.1;
        value.split(',').next()
    };
    let (signed, signature) = (field("SignedHeaders=")?, field("Signature=")?);
    let moment = header("x-amz-date")?;
    let day = moment.get(..8)?;

    let mut query: Vec<_> = head
        .uri
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .collect();
    query.sort_unstable();
    let mut canonical = format!(
        "{}\n{}\n{}\n",
        head.method,
        encoded(head.uri.path()),
        query.join("&")
    );
    for name in signed.split(';') {
        canonical += &format!("{name}:{}\n", header(name)?.trim());
    }
    canonical += &format!(
        "\n{signed}\n{}",
        hex(digest::digest(&digest::SHA256, body).as_ref())
    );

    let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{moment}\n{day}/{region}/{service}/aws4_request\n{canonical}");
    let first = format!("AWS4{secret}").into_bytes();
    let key = [day, region, service, "aws4_request", &to_sign]
        .into_iter()
        .fold(first, |key, text| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
        });
    Some(hex(&key) == signature)
}

/// The path, with every character except unreserved ones percent-encoded again.
fn encoded(path: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(escape).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn serve(router: Router) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
