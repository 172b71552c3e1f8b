use async_openai::error::OpenAIError;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessage, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use futures_util::StreamExt;

use crate::provider::{Provider, all_keys, refused_keys, three_keys};
use crate::recipes::async_openai::client;

fn question() -> CreateChatCompletionRequest {
    CreateChatCompletionRequestArgs::default()
        .model("gpt-test")
        .messages([ChatCompletionRequestUserMessage::from("hi").into()])
        .build()
        .unwrap()
}

#[tokio::test]
async fn async_openai_fails_over_and_its_placeholder_key_is_replaced() {
    let provider = Provider::start().await;
    let client = client(three_keys(), &provider.base()).unwrap();
    let completion = client.chat().create(question()).await.unwrap();
    assert_eq!(
        completion.choices[0].message.content.as_deref(),
        Some("hello")
    );
    assert_eq!(provider.keys(), all_keys());
}

#[tokio::test]
async fn async_openai_streams_the_response_of_a_later_attempt() {
    let provider = Provider::start().await;
    let client = client(three_keys(), &provider.base()).unwrap();
    let mut stream = client.chat().create_stream(question()).await.unwrap();
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        for choice in chunk.unwrap().choices {
            text += choice.delta.content.as_deref().unwrap_or_default();
        }
    }
    assert_eq!(text, "hello");
    assert_eq!(provider.keys(), all_keys());
}

#[tokio::test]
async fn async_openai_reports_that_no_key_is_left() {
    let provider = Provider::start().await;
    let client = client(refused_keys(), &provider.base()).unwrap();
    let error = client.chat().create(question()).await.unwrap_err();
    let OpenAIError::ApiError(error) = error else {
        panic!("{error}");
    };
    assert!(
        error
            .to_string()
            .contains("all configured keys are rate-limited"),
        "{error}"
    );
    assert_eq!(provider.keys(), all_keys()[..2]);
}
