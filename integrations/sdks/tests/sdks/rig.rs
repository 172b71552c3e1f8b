use futures_util::StreamExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rig_core::completion::CompletionRequest;
use rig_core::driver::Model;
use rig_core::http_client::{HttpClientExt, MultipartForm};
use rig_core::providers::openai::OpenAIConfig;
use rig_core::streaming::{Item, StreamEvent};
use tower::Layer;
use tower_key_failover::policy::{Byok, Provider as Policy};
use tower_key_failover::{KeyFailoverLayer, KeyPool};

use crate::provider::{Provider, all_keys, refused_keys, three_keys};
use crate::recipes::rig::Keys;

fn http(pool: KeyPool) -> Keys<HttpConnector> {
    let policy = Policy::openai().byok(Byok::Never);
    let client = Client::builder(TokioExecutor::new()).build_http();
    Keys(KeyFailoverLayer::new(policy, pool).layer(client))
}

fn config(provider: &Provider) -> OpenAIConfig {
    OpenAIConfig::new("placeholder").with_base_url(provider.base())
}

#[tokio::test]
async fn rig_fails_over_and_its_placeholder_key_is_replaced() {
    let provider = Provider::start().await;
    let model = Model::new(config(&provider).chat("gpt-test"), http(three_keys()));
    let response = model.call(CompletionRequest::new("hi")).await.unwrap();
    assert_eq!(response.text(), "hello");
    assert_eq!(provider.keys(), all_keys());
}

#[tokio::test]
async fn rig_streams_the_response_of_a_later_attempt() {
    let provider = Provider::start().await;
    let model = Model::new(config(&provider).chat("gpt-test"), http(three_keys()));
    let mut stream = model.stream(CompletionRequest::new("hi")).unwrap();
    let mut text = String::new();
    while let Some(item) = stream.next().await {
        if let Item::Event(StreamEvent::Text { text: part, .. }) = item.unwrap() {
            text += &part;
        }
    }
    assert_eq!(text, "hello");
    assert_eq!(provider.keys(), all_keys());
}

#[tokio::test]
async fn rig_reports_that_no_key_is_left() {
    let provider = Provider::start().await;
    let model = Model::new(config(&provider).chat("gpt-test"), http(refused_keys()));
    let error = model.call(CompletionRequest::new("hi")).await.unwrap_err();
    assert!(format!("{error:?}").contains("429"), "{error:?}");
    assert_eq!(provider.keys(), all_keys()[..2]);
}

#[tokio::test]
async fn rig_sends_a_multipart_form_again_with_the_next_key() {
    let provider = Provider::start().await;
    let form = MultipartForm::new().text("model", "whisper-test");
    let request = http::Request::post(format!("{}/audio/transcriptions", provider.base()));
    let request = request.body(form).unwrap();
    let response = http(three_keys())
        .send_multipart::<Vec<u8>>(request)
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.into_body().await.unwrap().is_empty());
    assert_eq!(provider.keys(), all_keys());
}
