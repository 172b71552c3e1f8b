//! Where the keys of a route come from.

use super::ConfigFile;
use crate::support::{GOOD, LIMITED, REVOKED, configured, post, send, upstream, write_private};

#[tokio::test]
async fn keys_come_from_the_file_a_variable_or_a_keys_file() {
    let upstream = upstream().await;
    let route = |name: &str, keys: &str| {
        format!(
            "[routes.{name}]\nprefix = \"/{name}\"\nprovider = \"openai\"\nupstream = \"{}\"\n{keys}\n",
            upstream.url
        )
    };
    let file = ConfigFile::new(
        &[
            route(
                "inline",
                &format!("keys = [\"a = {REVOKED}\", \"[org]\", \"b = {GOOD} # main\"]"),
            ),
            route("variable", "keys_env = \"CANARY_KEYS\""),
            route("file", "keys_file = \"keys\""),
        ]
        .concat(),
    );
    // Relative to the configuration file.
    write_private(
        &file.directory.path("keys"),
        "one = sk-canary-file-66666666\n",
    );
    let gateway = configured(&file.path).env("CANARY_KEYS", &format!("{LIMITED},{GOOD}"));
    let gateway = gateway.listen().await;

    for target in ["/inline", "/variable", "/file"] {
        assert_eq!(
            send(post(&gateway.url(target))).await.status,
            200,
            "{target}"
        );
    }

    assert_eq!(
        upstream.keys(),
        [REVOKED, GOOD, LIMITED, GOOD, "sk-canary-file-66666666"]
    );
    let keys = gateway.keys().await;
    let keys = keys.as_array().unwrap().iter();
    let shown: Vec<_> = keys
        .map(|key| [&key["pool"], &key["label"], &key["group"]].map(|it| it.as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        shown,
        [
            ["file", "one", ""],
            ["inline", "a", ""],
            ["inline", "b", "org"],
            ["variable", "", ""],
            ["variable", "", ""],
        ]
    );
}

#[cfg(unix)]
#[tokio::test]
async fn files_with_keys_that_every_user_can_read_are_reported() {
    use std::os::unix::fs::PermissionsExt;

    let upstream = upstream().await;
    let file = ConfigFile::new(&super::route("a", "", &upstream.url, GOOD));
    let everyone = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&file.path, everyone).unwrap();

    let gateway = configured(&file.path).listen().await;

    gateway
        .prints("gateway.toml: every user of this machine can read it")
        .await;
}

#[tokio::test]
async fn check_reports_a_valid_file_and_does_not_listen() {
    let upstream = upstream().await;
    let taken = upstream.url.strip_prefix("http://").unwrap();
    let file = ConfigFile::new("");
    file.write(&format!(
        "listen = \"{taken}\"\n{}",
        super::route("a", "", &upstream.url, GOOD)
    ));

    let output = configured(&file.path).args(["--check"]).output().await;

    assert!(output.status.success(), "{output:?}");
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(
        line.contains("gateway.toml is valid: routes: 1, keys: 1"),
        "{line}"
    );
    assert!(output.stderr.is_empty());
}

#[tokio::test]
async fn check_covers_flags() {
    let valid = crate::support::gateway("openai", "http://127.0.0.1:9").args(["--check"]);
    let output = valid.keys([GOOD, LIMITED]).output().await;
    assert!(output.status.success(), "{output:?}");
    let invalid = crate::support::gateway("openai", "http://127.0.0.1:9").args(["--check"]);
    let line = invalid.keys([GOOD, GOOD]).refused().await;
    assert!(line.contains("GATEWAY_KEYS"), "{line}");
}
