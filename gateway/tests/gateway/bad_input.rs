//! Invalid configurations are rejected with a one-line message and exit status 2.

use crate::support::{GOOD, bare, file, gateway, upstream};

const UPSTREAM: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn starting_without_keys_is_rejected() {
    let line = gateway("openai", UPSTREAM).refused().await;
    assert!(line.contains("GATEWAY_KEYS"), "{line}");
}

#[tokio::test]
async fn an_empty_list_of_keys_is_rejected() {
    let line = gateway("openai", UPSTREAM).keys([""]).refused().await;
    assert!(line.contains("at least one key"), "{line}");
}

#[tokio::test]
async fn an_empty_key_is_rejected() {
    let line = gateway("openai", UPSTREAM).keys([GOOD, ""]).refused().await;
    assert!(line.contains("position 1"), "{line}");
}

#[tokio::test]
async fn a_repeated_key_is_reported_by_its_position() {
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
async fn a_missing_keys_file_is_reported() {
    let gateway = gateway("openai", UPSTREAM).args(["--keys-file", "/nowhere/keys"]);
    let line = gateway.refused().await;
    assert!(line.contains("/nowhere/keys"), "{line}");
}

#[tokio::test]
async fn a_keys_file_without_a_key_is_rejected() {
    let file = file("# none yet\n\n");
    let gateway = gateway("openai", UPSTREAM).args(["--keys-file", file.to_str().unwrap()]);
    let line = gateway.refused().await;
    std::fs::remove_file(&file).unwrap();
    assert!(line.contains("at least one key"), "{line}");
}

#[tokio::test]
async fn a_keys_file_for_a_provider_without_keys_is_rejected() {
    let line = gateway("copilot", UPSTREAM)
        .args(["--keys-file", "keys"])
        .refused()
        .await;
    assert!(line.contains("--keys-file"), "{line}");
}

#[tokio::test]
async fn an_invalid_upstream_url_is_rejected() {
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
async fn an_upstream_url_with_a_password_is_rejected() {
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
async fn an_unknown_provider_is_rejected() {
    let line = gateway("nobody", UPSTREAM).keys([GOOD]).refused().await;
    assert!(line.contains("nobody"), "{line}");
}

#[tokio::test]
async fn an_invalid_header_name_is_rejected() {
    let line = gateway("header:a b", UPSTREAM).keys([GOOD]).refused().await;
    assert!(line.contains("--provider"), "{line}");
}

#[tokio::test]
async fn an_unknown_byok_mode_is_rejected() {
    for byok in ["maybe", "prefix:"] {
        let gateway = gateway("openai", UPSTREAM)
            .keys([GOOD])
            .args(["--byok", byok]);
        let line = gateway.refused().await;
        assert!(line.contains("--byok"), "{line}");
    }
}

#[tokio::test]
async fn an_empty_client_token_is_rejected() {
    let gateway = gateway("openai", UPSTREAM)
        .keys([GOOD])
        .env("GATEWAY_CLIENT_TOKEN", "");
    let line = gateway.refused().await;
    assert!(line.contains("GATEWAY_CLIENT_TOKEN"), "{line}");
}

#[tokio::test]
async fn an_address_in_use_is_reported() {
    let taken = upstream().await;
    let taken = taken.url.strip_prefix("http://").unwrap();
    let gateway = gateway("openai", UPSTREAM)
        .keys([GOOD])
        .args(["--admin", taken]);
    let line = gateway.refused().await;
    assert!(line.contains(taken), "{line}");
}

#[tokio::test]
async fn missing_flags_are_reported() {
    let line = bare().keys([GOOD]).refused().await;
    assert!(
        line.contains("--provider") && line.contains("--upstream"),
        "{line}"
    );
}

#[tokio::test]
async fn a_key_cannot_be_given_as_an_argument() {
    let line = gateway("openai", UPSTREAM)
        .args(["--keys", GOOD])
        .refused()
        .await;
    assert!(line.contains("--keys") && !line.contains(GOOD), "{line}");
}
