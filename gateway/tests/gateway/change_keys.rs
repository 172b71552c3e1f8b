//! Operators disable and reinstate keys.

use serde_json::json;

use crate::support::{GOOD, Gateway, LIMITED, REVOKED, file, gateway, get, post, send, upstream};

async fn with_labels() -> Gateway {
    let upstream = upstream().await;
    let file = file(&format!(
        "bad = {REVOKED}\nsame = {LIMITED}\nother-key-4444\na/b?c = other-key-5555\n{GOOD}\n"
    ));
    let gateway = gateway("openai", &upstream.url).keys_file(&file);
    let gateway = gateway.admin().admin_token().listen().await;
    std::fs::remove_file(file).unwrap();
    gateway
}

#[tokio::test]
async fn a_key_is_reinstated_by_its_label() {
    let gateway = with_labels().await;
    send(post(&gateway.url("/"))).await;
    assert_eq!(gateway.states().await[0], "permanent");

    let response = gateway.change("/keys/bad/reinstate").await;

    assert_eq!(response.status, 200);
    assert_eq!(response.json()["changed"], true);
    assert_eq!(response.json()["key"]["state"], "valid");
    assert_eq!(gateway.states().await[0], "valid");
    let again = gateway.change("/keys/bad/reinstate").await;
    assert_eq!(
        (again.status, &again.json()["changed"]),
        (200, &json!(false))
    );
}

#[tokio::test]
async fn a_key_is_disabled_by_its_position() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD, "other-key-4444"]);
    let gateway = gateway.admin().admin_token().listen().await;

    let response = gateway.change("/keys/0/disable").await;
    send(post(&gateway.url("/"))).await;

    assert_eq!(response.status, 200);
    assert_eq!(response.json()["key"]["last_reason"], "operator");
    assert_eq!(gateway.states().await, ["permanent", "valid"]);
    assert_eq!(upstream.keys(), ["other-key-4444"]);
}

#[tokio::test]
async fn a_label_in_a_path_can_be_percent_encoded() {
    let gateway = with_labels().await;

    let response = gateway.change("/keys/a%2Fb%3Fc/disable").await;

    assert_eq!(response.status, 200);
    assert_eq!(gateway.states().await[3], "permanent");
}

#[tokio::test]
async fn a_key_without_a_label_is_named_by_its_position() {
    let gateway = with_labels().await;

    assert_eq!(gateway.keys().await[2]["name"], "2");
    assert_eq!(gateway.change("/keys/2/disable").await.status, 200);
    assert_eq!(gateway.states().await[1..3], ["valid", "permanent"]);
}

#[tokio::test]
async fn changing_an_unknown_key_gives_404() {
    let gateway = with_labels().await;

    for name in ["nobody", "5", "-1", "+1", "99999999999999999999"] {
        let response = gateway.change(&format!("/keys/{name}/disable")).await;
        assert_eq!(response.status, 404, "{name}");
        assert!(response.json()["error"].is_string());
    }
}

#[tokio::test]
async fn only_a_key_with_the_given_hint_is_changed() {
    let gateway = with_labels().await;

    let other = gateway.change("/keys/4/disable?hint=sk-c...1111").await;
    assert_eq!(other.status, 409);
    assert_eq!(gateway.states().await[4], "valid");

    let same = gateway.change("/keys/4/disable?hint=sk-c...3333").await;
    assert_eq!(same.status, 200);
    assert_eq!(gateway.states().await[4], "permanent");
}

#[tokio::test]
async fn get_requests_change_nothing() {
    let gateway = with_labels().await;

    let response = send(get(&gateway.admin_url("/keys/bad/disable"))).await;

    assert_eq!(response.status, 405);
    assert_eq!(gateway.states().await[0], "valid");
}
