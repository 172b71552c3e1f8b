//! The keys are reloaded when their file changes.

use std::fs;
use std::path::Path;

use crate::support::{
    Directory, GOOD, Gateway, LIMITED, REVOKED, Upstream, gateway, post, send, until, upstream,
    write_private,
};

const OTHER: &str = "sk-canary-other-44444444";

async fn start(keys: &Path) -> (Upstream, Gateway) {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys_file(keys).admin();
    let gateway = gateway.listen().await;
    (upstream, gateway)
}

/// Replaces the file with a new one.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    write_private(&new, text);
    fs::rename(new, path).unwrap();
}

async fn hints(gateway: &Gateway) -> Vec<String> {
    let keys = gateway.keys().await;
    let hint = |key: &serde_json::Value| key["hint"].as_str().unwrap().to_owned();
    keys.as_array().unwrap().iter().map(hint).collect()
}

#[tokio::test]
async fn a_rewritten_keys_file_is_reloaded() {
    let directory = Directory::new();
    let path = directory.path("keys");
    write_private(&path, &format!("{REVOKED}\n"));
    let (upstream, gateway) = start(&path).await;
    assert_eq!(send(post(&gateway.url("/"))).await.status, 502);

    write_private(&path, &format!("{REVOKED}\nnew one = {GOOD}\n"));
    gateway
        .prints("reloaded keys: added new one (sk-c...3333); kept 1\n")
        .await;

    // The first key keeps its state.
    assert_eq!(gateway.states().await, ["permanent", "valid"]);
    assert_eq!(send(post(&gateway.url("/"))).await.status, 200);
    assert_eq!(upstream.keys(), [REVOKED, GOOD]);
}

#[tokio::test]
async fn a_replaced_keys_file_is_reloaded_each_time() {
    let directory = Directory::new();
    let path = directory.path("keys");
    write_private(&path, &format!("{REVOKED}\n{LIMITED}\n"));
    let (_upstream, gateway) = start(&path).await;

    replace(&path, &format!("{LIMITED}\n{GOOD}\n"));
    gateway
        .prints("added sk-c...3333; removed sk-c...1111; kept 1\n")
        .await;
    assert_eq!(hints(&gateway).await, ["sk-c...2222", "sk-c...3333"]);

    replace(&path, &format!("{OTHER}\n"));
    gateway
        .prints("added sk-c...4444; removed sk-c...2222, sk-c...3333; kept 0\n")
        .await;
    assert_eq!(hints(&gateway).await, ["sk-c...4444"]);
}

/// Kubernetes links the file through `..data`, and replaces that link.
#[cfg(unix)]
#[tokio::test]
async fn a_changed_link_to_the_keys_file_is_followed() {
    use std::os::unix::fs::symlink;

    let directory = Directory::new();
    for (version, key) in [("..1", REVOKED), ("..2", GOOD), ("..3", OTHER)] {
        fs::create_dir(directory.path(version)).unwrap();
        fs::write(directory.path(version).join("keys"), key).unwrap();
    }
    symlink("..1", directory.path("..data")).unwrap();
    let path = directory.path("keys");
    symlink("..data/keys", &path).unwrap();
    let (_upstream, gateway) = start(&path).await;

    for (old, version, hint) in [("..1", "..2", "sk-c...3333"), ("..2", "..3", "sk-c...4444")] {
        symlink(version, directory.path("..data_tmp")).unwrap();
        fs::rename(directory.path("..data_tmp"), directory.path("..data")).unwrap();
        fs::remove_dir_all(directory.path(old)).unwrap();
        until(async || hints(&gateway).await == [hint]).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_linked_keys_file_is_watched_in_its_directory() {
    let (here, there) = (Directory::new(), Directory::new());
    fs::write(there.path("keys"), REVOKED).unwrap();
    std::os::unix::fs::symlink(there.path("keys"), here.path("keys")).unwrap();
    let (_upstream, gateway) = start(&here.path("keys")).await;

    replace(&there.path("keys"), GOOD);

    until(async || hints(&gateway).await == ["sk-c...3333"]).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_keys_file_whose_link_changes_to_another_directory_is_watched_there() {
    let (here, first, second) = (Directory::new(), Directory::new(), Directory::new());
    fs::write(first.path("keys"), REVOKED).unwrap();
    fs::write(second.path("keys"), OTHER).unwrap();
    std::os::unix::fs::symlink(first.path("keys"), here.path("keys")).unwrap();
    let (_upstream, gateway) = start(&here.path("keys")).await;

    std::os::unix::fs::symlink(second.path("keys"), here.path("new")).unwrap();
    fs::rename(here.path("new"), here.path("keys")).unwrap();
    until(async || hints(&gateway).await == ["sk-c...4444"]).await;
    replace(&second.path("keys"), GOOD);

    until(async || hints(&gateway).await == ["sk-c...3333"]).await;
}

#[tokio::test]
async fn an_invalid_keys_file_changes_nothing_and_is_reported() {
    let directory = Directory::new();
    let path = directory.path("keys");
    write_private(&path, &format!("{GOOD}\n"));
    let (_upstream, gateway) = start(&path).await;

    for (text, why) in [
        ("# none\n".to_owned(), "at least one key"),
        (
            format!("{OTHER}\n{OTHER}\n"),
            "line 2: the same key is on line 1",
        ),
        (
            format!("{OTHER}\nbad\u{7f}key-sk-canary\n"),
            "line 2: the key contains a character",
        ),
        (
            format!("one = {OTHER}\ntwo =\n"),
            "line 2: the key is empty",
        ),
        (
            format!("{OTHER}\n7 = {OTHER}x\n"),
            "line 2: a label must not be empty or a number",
        ),
        (
            format!("a = {OTHER}\na = {OTHER}x\n"),
            "line 2: the same label is on line 1",
        ),
        (format!("[org\n{OTHER}\n"), "line 1: a `[` without a `]`"),
        (
            format!("= {OTHER}\n"),
            "line 1: a label must not be empty or a number",
        ),
    ] {
        replace(&path, &text);
        gateway.prints(why).await;
        assert_eq!(hints(&gateway).await, ["sk-c...3333"], "{text}");
    }
    fs::write(&path, b"\xff\xfe").unwrap();
    gateway.prints("UTF-8").await;
    fs::remove_file(&path).unwrap();
    gateway.prints("No such file").await;
    assert_eq!(hints(&gateway).await, ["sk-c...3333"]);
    let printed = gateway.stderr();
    let each = "gateway: keys not reloaded: --keys-file ";
    assert!(
        printed
            .lines()
            .all(|line| line.contains(each) || line.contains("gateway: started")),
        "{printed}"
    );
    assert!(!printed.contains("canary"), "{printed}");

    replace(&path, &format!("{OTHER}\n"));
    until(async || hints(&gateway).await == ["sk-c...4444"]).await;
}

#[tokio::test]
async fn a_reload_can_change_the_label_and_group_of_a_key() {
    let directory = Directory::new();
    let path = directory.path("keys");
    write_private(&path, &format!("{LIMITED}\n{GOOD}\n"));
    let (_upstream, gateway) = start(&path).await;
    send(post(&gateway.url("/"))).await;

    replace(&path, &format!("[org]\none = {LIMITED}\n[ ]\n{GOOD}\n"));
    gateway.prints("reloaded keys: kept 2\n").await;

    assert_eq!(gateway.keys().await[0]["label"], "one");
    assert_eq!(gateway.keys().await[0]["group"], "org");
    assert_eq!(gateway.states().await, ["temporary", "valid"]);
}

#[cfg(unix)]
#[tokio::test]
async fn sighup_reloads_the_keys_and_always_reports_it() {
    let directory = Directory::new();
    let path = directory.path("keys");
    write_private(&path, &format!("{GOOD}\n"));
    let (_upstream, gateway) = start(&path).await;

    gateway.signal("HUP").await;
    gateway.prints("reloaded keys: kept 1\n").await;
    fs::write(&path, "").unwrap();
    gateway.prints("keys not reloaded").await;
    gateway.signal("HUP").await;

    until(async || gateway.stderr().matches("keys not reloaded").count() == 2).await;
}

#[tokio::test]
async fn changes_of_other_files_are_not_reported() {
    let directory = Directory::new();
    let path = directory.path("keys");
    write_private(&path, &format!("{GOOD}\n"));
    let (_upstream, gateway) = start(&path).await;

    fs::write(directory.path("other"), "text").unwrap();
    replace(&path, &format!("{GOOD}\n"));
    replace(&directory.path("other"), "text");
    replace(&path, &format!("{OTHER}\n"));
    gateway
        .prints("added sk-c...4444; removed sk-c...3333; kept 0\n")
        .await;

    assert_eq!(gateway.stderr().matches("reloaded").count(), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn keys_from_a_pipe_are_read_once() {
    let directory = Directory::new();
    let path = directory.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let writer = path.clone();
    let writing = tokio::task::spawn_blocking(move || fs::write(writer, GOOD));
    let (upstream, gateway) = start(&path).await;
    writing.await.unwrap().unwrap();

    assert_eq!(send(post(&gateway.url("/"))).await.status, 200);
    assert_eq!(upstream.keys(), [GOOD]);
    assert!(!gateway.catches_sighup());
    assert!(!gateway.stderr().contains("reload"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn without_a_keys_file_sighup_is_not_handled() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    assert!(!gateway.catches_sighup());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn with_a_keys_file_sighup_is_handled() {
    let directory = Directory::new();
    let path = directory.path("keys");
    write_private(&path, GOOD);
    let (_upstream, gateway) = start(&path).await;

    assert!(gateway.catches_sighup());
}
