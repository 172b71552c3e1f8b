//! What the gateway cannot take: one clear line, and status 2.

use crate::support::{GOOD, bare, file, gateway, upstream};

const UPSTREAM: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn having_no_keys_is_refused() {
    let line = gateway("openai", UPSTREAM).refused().await;
    assert!(line.contains("GATEWAY_KEYS"), "{line}");
}

#[tokio::test]
async fn an_empty_list_of_keys_is_refused() {
    let line = gateway("openai", UPSTREAM).keys([""]).refused().await;
    assert!(line.contains("at least one key"), "{line}");
}

#[tokio::test]
async fn one_empty_key_is_refused() {
    let line = gateway("openai", UPSTREAM).keys([GOOD, ""]).refused().await;
    assert!(line.contains("position 1"), "{line}");
}

#[tokio::test]
async fn a_repeated_key_is_named_by_position_alone() {
    let line = gateway("openai", UPSTREAM)
        .keys([GOOD, GOOD])
        .refused()
        .await;
    assert!(
        line.contains("position 1") && !line.contains(GOOD),
        "{line}"
    );
}

#[tokio::test]
async fn a_key_file_that_is_missing_is_named() {
    let gateway = gateway("openai", UPSTREAM).args(["--keys-file", "/nowhere/keys"]);
    let line = gateway.refused().await;
    assert!(line.contains("/nowhere/keys"), "{line}");
}

#[tokio::test]
async fn a_key_file_without_a_key_is_refused() {
    let file = file("# none yet\n\n");
    let gateway = gateway("openai", UPSTREAM).args(["--keys-file", file.to_str().unwrap()]);
    let line = gateway.refused().await;
    std::fs::remove_file(&file).unwrap();
    assert!(line.contains("at least one key"), "{line}");
}

#[tokio::test]
async fn a_key_file_for_a_provider_whose_clients_bring_their_own_is_refused() {
    let line = gateway("copilot", UPSTREAM)
        .args(["--keys-file", "keys"])
        .refused()
        .await;
    assert!(line.contains("--keys-file"), "{line}");
}

#[tokio::test]
async fn an_upstream_that_is_no_url_is_refused() {
    for upstream in [
        "nonsense",
        "http://",
        "ftp://host",
        "/path",
        "http://h h",
        "https://h/?q=1",
    ] {
        let line = gateway("openai", upstream).keys([GOOD]).refused().await;
        assert!(
            line.contains("--upstream") && line.contains(upstream),
            "{line}"
        );
    }
}

#[tokio::test]
async fn an_upstream_with_a_password_is_refused() {
    let line = gateway("openai", "https://user:hunter2@host")
        .keys([GOOD])
        .refused()
        .await;
    assert!(
        line.contains("--upstream") && !line.contains("hunter2"),
        "{line}"
    );
}

#[tokio::test]
async fn an_unknown_provider_is_refused() {
    let line = gateway("nobody", UPSTREAM).keys([GOOD]).refused().await;
    assert!(line.contains("nobody"), "{line}");
}

#[tokio::test]
async fn a_header_that_cannot_be_is_refused() {
    let line = gateway("header:a b", UPSTREAM).keys([GOOD]).refused().await;
    assert!(line.contains("--provider"), "{line}");
}

#[tokio::test]
async fn an_unknown_way_with_clients_keys_is_refused() {
    for byok in ["maybe", "prefix:"] {
        let gateway = gateway("openai", UPSTREAM)
            .keys([GOOD])
            .args(["--byok", byok]);
        let line = gateway.refused().await;
        assert!(line.contains("--byok"), "{line}");
    }
}

#[tokio::test]
async fn an_empty_client_token_is_refused() {
    let gateway = gateway("openai", UPSTREAM)
        .keys([GOOD])
        .env("GATEWAY_CLIENT_TOKEN", "");
    let line = gateway.refused().await;
    assert!(line.contains("GATEWAY_CLIENT_TOKEN"), "{line}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = upstream().await;
    let taken = taken.url.strip_prefix("http://").unwrap();
    let gateway = gateway("openai", UPSTREAM)
        .keys([GOOD])
        .args(["--admin", taken]);
    let line = gateway.refused().await;
    assert!(line.contains(taken), "{line}");
}

#[tokio::test]
async fn flags_that_are_missing_are_named() {
    let line = bare().keys([GOOD]).refused().await;
    assert!(
        line.contains("--provider") && line.contains("--upstream"),
        "{line}"
    );
}

#[tokio::test]
async fn no_key_can_be_given_as_an_argument() {
    let line = gateway("openai", UPSTREAM)
        .args(["--keys", GOOD])
        .refused()
        .await;
    assert!(line.contains("--keys") && !line.contains(GOOD), "{line}");
}
