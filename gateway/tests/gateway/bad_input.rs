//! Invalid configurations are rejected with a one-line message and exit status 2.

use crate::support::{GOOD, LIMITED, bare, file, gateway, upstream};

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
    assert!(
        line.contains("--keys-file cannot be read: No such file"),
        "{line}"
    );
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
        "https://h:99999",
        "https://h:port",
        GOOD,
    ] {
        let line = gateway("openai", upstream).keys([GOOD]).refused().await;
        assert!(
            line.contains("--upstream") && !line.contains(upstream),
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
    assert!(line.contains("--provider: no such provider"), "{line}");
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
    for token in ["", " \n"] {
        let gateway = gateway("openai", UPSTREAM)
            .keys([GOOD])
            .env("GATEWAY_CLIENT_TOKEN", token);
        let line = gateway.refused().await;
        assert!(line.contains("GATEWAY_CLIENT_TOKEN is empty"), "{line}");
    }
}

#[tokio::test]
async fn a_client_token_that_no_header_can_contain_is_rejected() {
    let gateway = gateway("openai", UPSTREAM)
        .keys([GOOD])
        .env("GATEWAY_CLIENT_TOKEN", "canary\ncanary");
    let line = gateway.refused().await;
    assert!(line.contains("GATEWAY_CLIENT_TOKEN"), "{line}");
    assert!(!line.contains("canary"), "{line}");
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
async fn a_missing_upstream_is_reported() {
    let gateway = bare().args(["--provider", "openai"]).keys([GOOD]);
    assert_eq!(gateway.refused().await, "gateway: --upstream is missing\n");
}

#[tokio::test]
async fn a_repeated_flag_is_reported() {
    let gateway = gateway("openai", UPSTREAM).args(["--upstream", UPSTREAM]);
    assert_eq!(
        gateway.refused().await,
        "gateway: --upstream: given more than once\n"
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

#[tokio::test]
async fn a_key_in_place_of_another_value_is_not_printed() {
    for flag in [
        "--provider",
        "--byok",
        "--selection",
        "--affinity",
        "--scope",
        "--log",
        "--max-attempts",
        "--replay-budget",
        "--idle-timeout",
        "--cooldown",
        "--max-waiters",
    ] {
        let line = bare().args([flag, GOOD]).refused().await;
        assert!(line.contains(flag) && !line.contains(GOOD), "{line}");
        let joined = format!("{flag}={GOOD}");
        let line = bare().args([&joined]).refused().await;
        assert!(line.contains(flag) && !line.contains(GOOD), "{line}");
    }
    let as_flag = format!("--{GOOD}");
    let as_value_of_a_switch = format!("--open={GOOD}");
    for argument in [GOOD, &as_flag, &as_value_of_a_switch] {
        let line = gateway("openai", UPSTREAM).args([argument]).refused().await;
        assert!(!line.contains(GOOD), "{line}");
    }
}

#[tokio::test]
async fn unknown_flags_and_providers_are_answered_with_the_most_similar_one() {
    for (flag, similar) in [
        ("--provder=openai", "--provider?"),
        ("--state-fle=x", "--state-file?"),
        ("--byokk=never", "--byok?"),
    ] {
        let line = gateway("openai", UPSTREAM).args([flag]).refused().await;
        assert!(
            line.contains("did you mean") && line.contains(similar),
            "{line}"
        );
    }
    for (provider, similar) in [
        ("antropic", "anthropic?"),
        ("OpenAI", "openai?"),
        ("azure", "azure_openai?"),
        ("mistal", "mistral?"),
    ] {
        let line = gateway(provider, UPSTREAM).keys([GOOD]).refused().await;
        assert!(
            line.contains("--provider") && line.contains(similar),
            "{line}"
        );
    }
}

#[tokio::test]
async fn an_error_in_a_keys_file_names_the_line_and_no_key() {
    for (text, expected) in [
        (
            format!("# keys\n{GOOD}\n\n{GOOD}\n"),
            "line 4: the same key is on line 2",
        ),
        (
            format!("a = {GOOD}\na = {LIMITED}\n"),
            "line 2: the same label is on line 1",
        ),
        (format!("[org\n{GOOD}\n"), "line 1: a `[` without a `]`"),
        (
            format!("{GOOD}\n[org = {LIMITED}\n"),
            "line 2: a `[` without a `]`",
        ),
        (format!("{GOOD}\norg]\n"), "line 2: a `]` without a `[`"),
        (format!("{GOOD}\nb = \n"), "line 2: the key is empty"),
        (
            format!("{GOOD}\n{LIMITED}\u{7f}\n"),
            "line 2: the key contains a character",
        ),
        (
            format!("{GOOD}\n7 = {LIMITED}\n"),
            "line 2: a label must not",
        ),
    ] {
        let file = file(&text);
        let gateway = gateway("openai", UPSTREAM).keys_file(&file);
        let line = gateway.refused().await;
        std::fs::remove_file(&file).unwrap();
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains(GOOD) && !line.contains(LIMITED), "{line}");
    }
}

#[tokio::test]
async fn a_keys_file_together_with_keys_in_the_environment_is_rejected() {
    let file = file(GOOD);
    let gateway = gateway("openai", UPSTREAM).keys([LIMITED]).keys_file(&file);
    let line = gateway.refused().await;
    std::fs::remove_file(&file).unwrap();
    assert!(
        line.contains("--keys-file") && line.contains("GATEWAY_KEYS"),
        "{line}"
    );
}

#[tokio::test]
async fn version_prints_the_version() {
    let output = bare().args(["--version"]).output().await;
    let expected = format!("key-failover-gateway {}\n", env!("CARGO_PKG_VERSION"));
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}
