//! The status page: four files, which load their data from the other endpoints.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{MethodRouter, get};

use super::state::Shared;

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/", file("text/html", include_str!("page/index.html")))
        .route(
            "/style.css",
            file("text/css", include_str!("page/style.css")),
        )
        .route(
            "/script.js",
            file("text/javascript", include_str!("page/script.js")),
        )
        .route(
            "/icon.svg",
            file("image/svg+xml", include_str!("page/icon.svg")),
        )
}

fn file(kind: &'static str, text: &'static str) -> MethodRouter<Shared> {
    let kind = format!("{kind}; charset=utf-8");
    get(async move || ([(CONTENT_TYPE, kind)], text))
}
