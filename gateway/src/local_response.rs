//! The gateway's own error responses, in the format that the provider's SDKs expect.

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

/// An error response with this status and message.
pub fn error(provider: &str, status: StatusCode, message: &'static str) -> Response<Full<Bytes>> {
    match provider {
        "anthropic" => json(status, anthropic(status, message)),
        "gemini" | "vertex" => json(status, google(status, message)),
        "grpc" => grpc(status, message),
        "bedrock" => bedrock(status, message),
        "cohere" => json(status, json!({ "message": message })),
        "mistral" => json(status, mistral(status, message)),
        _ => json(status, openai(status, message)),
    }
}

fn anthropic(status: StatusCode, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind(status), "message": message } })
}

fn google(status: StatusCode, message: &str) -> Value {
    let name = match status {
        StatusCode::UNAUTHORIZED => "UNAUTHENTICATED",
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "PERMISSION_DENIED",
        StatusCode::GATEWAY_TIMEOUT => "DEADLINE_EXCEEDED",
        StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT => "INVALID_ARGUMENT",
        StatusCode::NOT_FOUND => "NOT_FOUND",
        _ => "UNAVAILABLE",
    };
    json!({ "error": { "code": status.as_u16(), "message": message, "status": name } })
}

fn openai(status: StatusCode, message: &str) -> Value {
    let code = match status {
        StatusCode::UNAUTHORIZED => "invalid_api_key",
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "forbidden",
        StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT => "invalid_request",
        StatusCode::NOT_FOUND => "not_found",
        _ => "server_error",
    };
    json!({
        "error": { "message": message, "type": kind(status), "param": null, "code": code }
    })
}

/// botocore reads the error's type from a header.
fn bedrock(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let kind = match status {
        StatusCode::UNAUTHORIZED => "UnrecognizedClientException",
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "AccessDeniedException",
        StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT => "ValidationException",
        StatusCode::NOT_FOUND => "ResourceNotFoundException",
        _ => "ServiceUnavailableException",
    };
    let mut response = json(status, json!({ "message": message }));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert("x-amzn-errortype", kind);
    response
}

/// Mistral's own flat shape, next to OpenAI's.
fn mistral(status: StatusCode, message: &str) -> Value {
    let mut body = openai(status, message);
    body["object"] = "error".into();
    body["message"] = message.into();
    body["type"] = kind(status).into();
    body["param"] = Value::Null;
    body["code"] = body["error"]["code"].clone();
    body["raw_status_code"] = status.as_u16().into();
    body
}

/// A response that consists of a head with the gRPC status. Messages must be ASCII.
fn grpc(status: StatusCode, message: &'static str) -> Response<Full<Bytes>> {
    let code = match status {
        StatusCode::UNAUTHORIZED => "16",
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "7",
        StatusCode::GATEWAY_TIMEOUT => "4",
        StatusCode::BAD_REQUEST => "3",
        StatusCode::NOT_FOUND => "5",
        _ => "14",
    };
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(code));
    headers.insert("grpc-message", HeaderValue::from_static(message));
    response
}

/// The name of the error type, which Anthropic and OpenAI share.
fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "permission_error",
        StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT => "invalid_request_error",
        StatusCode::NOT_FOUND => "not_found_error",
        _ => "api_error",
    }
}

fn json(status: StatusCode, body: Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
