//! Access control for the admin listener.
//!
//! Anyone who can connect can read, with two exceptions that protect against web pages in a browser on
//! this machine:
//!
//! - Requests from pages of other origins are rejected, based on `Origin` and `Sec-Fetch-Site`. No
//!   CORS header is sent. Following a link to the status page is allowed.
//! - On loopback, `Host` must be a loopback name. This stops pages whose host name was changed to
//!   resolve to this machine (DNS rebinding).
//!
//! Changes require a token in `Authorization`, which a page can send only if it was given the token.
//! There are no cookies. Wrong tokens are slowed down (`guesses.rs`).

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::guesses::TooManyGuesses;
use super::state::{Admin, Shared, failed};
use crate::gateway::bearer;
use crate::origin;

/// Headers of every response. They prevent caching, content sniffing, framing and access from other
/// origins. The page can load only its own files.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

pub async fn guard(State(admin): State<Shared>, request: Request, next: Next) -> Response {
    let refused = match origin(&request, admin.on_loopback) {
        Some(refused) => Some(refused),
        None => {
            let presented = request.headers().get(header::AUTHORIZATION);
            let presented = presented.and_then(|value| bearer(value.as_bytes()));
            let presented = presented.map(<[u8]>::to_vec);
            token(&admin, &request.method().clone(), presented).await
        }
    };
    let mut response = match refused {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// The error response to a request from a page of another origin.
fn origin(request: &Request, on_loopback: bool) -> Option<Response> {
    let (uri, headers) = (request.uri(), request.headers());
    if on_loopback && !origin::has_local_host(uri, headers) {
        let why =
            "the admin address is on loopback: the host must be localhost or a loopback address";
        return Some(failed(StatusCode::MISDIRECTED_REQUEST, why));
    }
    let is_link = is_navigation(request.method(), headers);
    if origin::has_foreign_origin(uri, headers) || (origin::is_cross_site(headers) && !is_link) {
        let why = "pages of other origins have no access";
        return Some(failed(StatusCode::FORBIDDEN, why));
    }
    None
}

/// Whether a page links here. It cannot read the page that opens.
fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let fetch = |what| origin::single(headers, HeaderName::from_static(what));
    *method == Method::GET
        && fetch("sec-fetch-mode") == Some("navigate")
        && fetch("sec-fetch-dest") == Some("document")
}

/// The error response to a change without the admin token.
async fn token(admin: &Admin, method: &Method, presented: Option<Vec<u8>>) -> Option<Response> {
    if [Method::GET, Method::HEAD].contains(method) {
        return None;
    }
    let Some(token) = &admin.token else {
        let why = "changes are disabled: GATEWAY_ADMIN_TOKEN is not set";
        return Some(failed(StatusCode::FORBIDDEN, why));
    };
    let why = match presented {
        Some(presented) => match admin.guesses.check(&presented, token).await {
            Ok(true) => return None,
            Ok(false) => "this is not the admin token",
            Err(TooManyGuesses) => {
                let why = "too many requests with a token that is not the admin token";
                return Some(failed(StatusCode::TOO_MANY_REQUESTS, why));
            }
        },
        None => "changes require the admin token as a bearer token",
    };
    let mut refused = failed(StatusCode::UNAUTHORIZED, why);
    let scheme = HeaderValue::from_static("Bearer");
    refused
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, scheme);
    Some(refused)
}
