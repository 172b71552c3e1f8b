use serde_json::json;

use crate::provider::{Provider, all_keys, refused_keys, three_keys};
use crate::recipes::reqwest_middleware::client;

#[tokio::test]
async fn reqwest_middleware_fails_over_and_a_placeholder_key_is_replaced() {
    let provider = Provider::start().await;
    let request = client(three_keys())
        .unwrap()
        .post(format!("{}/messages", provider.base()))
        .header("x-api-key", "placeholder")
        .body(json!({ "stream": true }).to_string());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    assert_eq!(provider.keys(), all_keys());
}

#[tokio::test]
async fn reqwest_middleware_returns_the_response_that_no_key_is_left() {
    let provider = Provider::start().await;
    let url = format!("{}/messages", provider.base());
    let response = client(refused_keys())
        .unwrap()
        .post(url)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
}
