//! The configuration file is reloaded when it changes.

use std::sync::Arc;

use axum::http::Response;
use tokio::sync::Semaphore;

use super::{ConfigFile, route};
use crate::support::{
    GOOD, Gateway, LIMITED, REVOKED, configured, get, post, send, until, upstream, upstream_with,
    write_private,
};

const OTHER: &str = "sk-canary-other-44444444";

async fn status(gateway: &Gateway, target: &str) -> u16 {
    send(post(&gateway.url(target))).await.status
}

#[tokio::test]
async fn a_reload_adds_and_removes_routes() {
    let upstream = upstream().await;
    let a = route("a", "prefix = \"/a\"", &upstream.url, GOOD);
    let b = route("b", "prefix = \"/b\"", &upstream.url, OTHER);
    let file = ConfigFile::new(&a);
    let gateway = configured(&file.path).listen().await;
    assert_eq!(status(&gateway, "/b").await, 404);

    file.replace(&[a, b.clone()].concat());
    gateway.prints("2 routes; added b").await;
    assert_eq!(
        (status(&gateway, "/a").await, status(&gateway, "/b").await),
        (200, 200)
    );
    file.replace(&b);
    gateway.prints("1 routes; removed a").await;

    assert_eq!(
        (status(&gateway, "/a").await, status(&gateway, "/b").await),
        (404, 200)
    );
    assert_eq!(gateway.keys().await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn keys_keep_their_state_when_their_route_changes() {
    let upstream = upstream().await;
    let with = |fields: &str, keys: &str| {
        format!(
            "[routes.a]\nprovider = \"openai\"\nupstream = \"{}\"\nkeys = [{keys}]\n{fields}\n",
            upstream.url
        )
    };
    let keys = format!("\"{REVOKED}\", \"{LIMITED}\", \"{GOOD}\"");
    let file = ConfigFile::new(&with("", &keys));
    let gateway = configured(&file.path).listen().await;
    assert_eq!(status(&gateway, "/").await, 200);
    let states = ["permanent", "temporary", "valid"];
    assert_eq!(gateway.states().await, states);

    file.replace(&with("prefix = \"/a\"\nmax_attempts = 1", &keys));
    gateway.prints("reloaded --config").await;
    until(async || status(&gateway, "/a").await == 200).await;
    assert_eq!(gateway.states().await, states);

    file.replace(&with("", &format!("{keys}, \"{OTHER}\"")));
    gateway
        .prints("reloaded keys of a: added sk-c...4444; kept 3\n")
        .await;
    assert_eq!(
        gateway.states().await,
        ["permanent", "temporary", "valid", "valid"]
    );
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn keys_keep_their_state_when_the_settings_of_their_pool_change() {
    let upstream = upstream().await;
    let with = |fields: &str| {
        format!(
            "[routes.a]\nprovider = \"openai\"\nupstream = \"{}\"\n\
             keys = [\"{REVOKED}\", \"{GOOD}\"]\n{fields}\n",
            upstream.url
        )
    };
    let file = ConfigFile::new(&with(""));
    let gateway = configured(&file.path).listen().await;
    assert_eq!(status(&gateway, "/").await, 200);

    file.replace(&with("cooldown = \"5m\"\nprefix = \"/new\""));
    until(async || status(&gateway, "/new").await == 200).await;

    assert_eq!(gateway.states().await, ["permanent", "valid"]);
}

#[tokio::test]
async fn a_changed_keys_file_of_a_route_is_reloaded() {
    let upstream = upstream().await;
    let file = ConfigFile::new(&format!(
        "[routes.a]\nprovider = \"openai\"\nupstream = \"{}\"\nkeys_file = \"keys\"\n",
        upstream.url
    ));
    let keys = file.directory.path("keys");
    write_private(&keys, REVOKED);
    let gateway = configured(&file.path).listen().await;
    assert_eq!(status(&gateway, "/").await, 502);

    write_private(&keys, &format!("{REVOKED}\nnew = {GOOD}\n"));
    gateway
        .prints("reloaded keys of a: added new (sk-c...3333); kept 1\n")
        .await;

    assert_eq!(status(&gateway, "/").await, 200);
}

#[tokio::test]
async fn a_keys_file_that_a_reload_introduces_is_watched() {
    let upstream = upstream().await;
    let file = ConfigFile::new(&route("a", "", &upstream.url, REVOKED));
    let gateway = configured(&file.path).listen().await;
    let elsewhere = crate::support::Directory::new();
    let keys = elsewhere.path("keys");
    write_private(&keys, REVOKED);
    let text = route("a", "", &upstream.url, REVOKED);
    let inline = format!("keys = [\"{REVOKED}\"]");
    file.replace(&text.replace(&inline, &format!("keys_file = \"{}\"", keys.display())));
    gateway.prints("reloaded --config").await;

    write_private(&keys, GOOD);

    until(async || status(&gateway, "/").await == 200).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_reported_once() {
    let upstream = upstream().await;
    let a = route("a", "prefix = \"/a\"", &upstream.url, GOOD);
    let file = ConfigFile::new(&a);
    let gateway = configured(&file.path).listen().await;

    for (text, why) in [
        (
            [
                a.clone(),
                route("b", "prefix = \"/b\"\nkeyss = 1", &upstream.url, OTHER),
            ]
            .concat(),
            "unknown field keyss; did you mean keys?",
        ),
        (
            [
                route("a", "prefix = \"/new\"", &upstream.url, OTHER),
                "x".to_owned(),
            ]
            .concat(),
            "line 9: ",
        ),
        (
            route("a", "prefix = \"/new\"", "https://", OTHER),
            "routes.a.upstream: ",
        ),
        (String::new(), "at least one route"),
    ] {
        file.replace(&text);
        gateway.prints(why).await;
        assert_eq!(status(&gateway, "/a").await, 200, "{why}");
        assert_eq!(status(&gateway, "/new").await, 404, "{why}");
    }

    let printed = gateway.stderr();
    let mut lines = printed.lines().filter(|line| !line.contains("started"));
    let each = format!(
        "configuration not reloaded: --config {}: ",
        file.path.display()
    );
    assert!(lines.all(|line| line.contains(&each)), "{printed}");
    assert_eq!(printed.matches("not reloaded").count(), 4, "{printed}");
    assert!(!printed.contains("canary"), "{printed}");
    assert_eq!(gateway.states().await, ["valid"]);
}

#[tokio::test]
async fn a_reload_during_requests_loses_none() {
    let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (opened, entered) = (Arc::clone(&gate), Arc::clone(&arrived));
    let upstream = upstream_with(move |request| {
        let (gate, arrived) = (Arc::clone(&gate), Arc::clone(&arrived));
        async move {
            if request.uri().path() == "/slow" {
                arrived.add_permits(1);
                gate.acquire().await.unwrap().forget();
            }
            Response::new("fine".into())
        }
    })
    .await;
    let file = ConfigFile::new(&route("a", "prefix = \"/a\"", &upstream.url, GOOD));
    let gateway = Arc::new(configured(&file.path).listen().await);
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let gateway = Arc::clone(&gateway);
        slow.spawn(async move { status(&gateway, "/a/slow").await });
    }
    entered.acquire_many(20).await.unwrap().forget();

    file.replace(&route("b", "prefix = \"/b\"", &upstream.url, OTHER));
    until(async || status(&gateway, "/b").await == 200).await;
    assert_eq!(status(&gateway, "/a").await, 404);
    opened.add_permits(20);

    while let Some(status) = slow.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_file_with_an_address_that_a_start_would_reject_changes_nothing() {
    let upstream = upstream().await;
    let a = route("a", "", &upstream.url, GOOD);
    let file = ConfigFile::new(&a);
    let gateway = configured(&file.path).listen().await;

    let b = route("b", "prefix = \"/b\"", &upstream.url, OTHER);
    file.write(&format!(
        "admin = \"127.0.0.1:0\"\nlisten = \"0.0.0.0:0\"\n{a}{b}"
    ));

    gateway
        .prints("line 2: listen: 0.0.0.0:0 is not on loopback")
        .await;
    assert_eq!(gateway.states().await.len(), 1);
}

#[tokio::test]
async fn settings_that_need_a_restart_are_named() {
    let upstream = upstream().await;
    let a = route("a", "", &upstream.url, GOOD);
    let file = ConfigFile::new(&a);
    let gateway = configured(&file.path).listen().await;

    file.write(&format!("listen = \"127.0.0.1:1\"\nlog = \"json\"\n{a}"));

    gateway
        .prints("restart the gateway to change listen, admin, log\n")
        .await;
    assert_eq!(send(get(&gateway.admin_url("/healthz"))).await.status, 200);
}

#[cfg(unix)]
#[tokio::test]
async fn sighup_reloads_the_configuration_and_always_reports_it() {
    let upstream = upstream().await;
    let file = ConfigFile::new(&route("a", "", &upstream.url, GOOD));
    let gateway = configured(&file.path).listen().await;

    gateway.signal("HUP").await;

    gateway.prints(": 1 routes\n").await;
}
