//! Which route serves a request.

use axum::http::Request;

use super::{ConfigFile, route};
use crate::support::{
    GOOD, Gateway, LIMITED, REVOKED, TOKEN, Upstream, configured, get, post, send, upstream, with,
};

const OTHER: &str = "sk-canary-other-44444444";

/// Three routes with prefixes, each with a key of its own.
async fn three(fields: &str) -> (Upstream, Gateway, ConfigFile) {
    let upstream = upstream().await;
    let base = format!("{}/base", upstream.url);
    let file = ConfigFile::new(
        &[
            route(
                "a",
                &format!("prefix = \"/a\"\n{fields}"),
                &upstream.url,
                GOOD,
            ),
            route("ab", "prefix = \"/a/b/\"", &base, OTHER),
            route(
                "kept",
                "prefix = \"/kept\"\nkeep_prefix = true",
                &base,
                "sk-kept-5555555555",
            ),
        ]
        .concat(),
    );
    let gateway = configured(&file.path).listen().await;
    (upstream, gateway, file)
}

#[tokio::test]
async fn the_route_with_the_longest_prefix_serves_a_request() {
    let (upstream, gateway, _file) = three("").await;

    for target in [
        "/a",
        "/a/",
        "/a/v1/models?x=/a/b",
        "/a/bc",
        "/a/b",
        "/a/b/",
        "/a/b/v1?y",
        "/kept/v1",
        "/a/v1/../b/c",
    ] {
        assert_eq!(
            send(post(&gateway.url(target))).await.status,
            200,
            "{target}"
        );
    }

    let seen = upstream.seen();
    let seen: Vec<_> = seen
        .iter()
        .map(|seen| (&*seen.target, seen.key()))
        .collect();
    assert_eq!(
        seen,
        [
            ("/", GOOD),
            ("/", GOOD),
            ("/v1/models?x=/a/b", GOOD),
            ("/bc", GOOD),
            ("/base/", OTHER),
            ("/base/", OTHER),
            ("/base/v1?y", OTHER),
            ("/base/kept/v1", "sk-kept-5555555555"),
            ("/base/c", OTHER),
        ]
    );
}

#[tokio::test]
async fn a_request_without_a_route_gets_a_404_in_json() {
    let (upstream, gateway, _file) = three("").await;

    for target in ["/", "/b", "/A", "/ab", "/%61/v1", "/a%2Fb", "/a/../x"] {
        let response = send(post(&gateway.url(target))).await;
        assert_eq!(response.status, 404, "{target}");
        assert_eq!(response.headers["content-type"], "application/json");
        let message = response.json()["error"]["message"].to_string();
        assert!(message.contains("no route"), "{message}");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_target_that_leaves_a_route_reaches_only_what_its_path_names() {
    let (upstream, gateway, _file) = three("").await;

    for target in [
        "/a/%2e%2e/%2e%2e/x",
        "/a/..%2f..%2fx",
        r"/a/..%5cx",
        "/a//x",
    ] {
        assert_eq!(
            send(post(&gateway.url(target))).await.status,
            400,
            "{target}"
        );
    }
    assert_eq!(send(post(&gateway.url("/a/b/../v1"))).await.status, 200);
    let seen = upstream.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((&*seen[0].target, seen[0].key()), ("/v1", GOOD));
}

#[tokio::test]
async fn a_host_selects_a_route_before_prefixes_do() {
    let upstream = upstream().await;
    let file = ConfigFile::new(
        &[
            route("all", "", &upstream.url, GOOD),
            route("long", "prefix = \"/v1/models\"", &upstream.url, LIMITED),
            route("host", "host = \"Localhost\"", &upstream.url, OTHER),
        ]
        .concat(),
    );
    let gateway = configured(&file.path).listen().await;
    let port = gateway.url.rsplit(':').next().unwrap();

    let localhost = format!("http://localhost:{port}/v1/models");
    assert_eq!(send(post(&localhost)).await.status, 200);
    assert_eq!(send(post(&gateway.url("/v1"))).await.status, 200);
    assert_eq!(send(post(&gateway.url("/v1/models"))).await.status, 429);

    assert_eq!(upstream.keys(), [OTHER, GOOD, LIMITED]);
}

#[tokio::test]
async fn with_a_client_token_any_host_can_select_a_route() {
    let upstream = upstream().await;
    let file = ConfigFile::new(
        &[
            route("a", "host = \"a.example\"", &upstream.url, GOOD),
            route("b", "host = \"b.example\"", &upstream.url, OTHER),
        ]
        .concat(),
    );
    let gateway = configured(&file.path).token().listen().await;
    let ask = async |host: &'static str| {
        let request = Request::post(gateway.url("/")).header("host", host);
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        send(request.body("question".into()).unwrap()).await.status
    };

    assert_eq!(ask("b.example").await, 200);
    assert_eq!(ask("A.EXAMPLE:8080").await, 200);
    assert_eq!(ask("c.example").await, 404);

    assert_eq!(upstream.keys(), [OTHER, GOOD]);
}

#[tokio::test]
async fn the_client_token_is_required_and_removed_on_each_route() {
    let upstream = upstream().await;
    let file = ConfigFile::new(
        &[
            route("a", "prefix = \"/a\"", &upstream.url, GOOD),
            route(
                "b",
                "prefix = \"/b\"\nbyok = \"never\"",
                &upstream.url,
                OTHER,
            ),
        ]
        .concat(),
    );
    let gateway = configured(&file.path).token().listen().await;

    for target in ["/a", "/b"] {
        let url = gateway.url(target);
        assert_eq!(send(post(&url)).await.status, 401, "{target}");
        let token = format!("{url}/v1?key={TOKEN}&x=1");
        assert_eq!(send(post(&token)).await.status, 200, "{target}");
    }
    let own = with(post(&gateway.url("/a")), "authorization", "Bearer sk-own");
    assert_eq!(send(own).await.status, 200);
    let own = with(post(&gateway.url("/b")), "authorization", "Bearer sk-own");
    assert_eq!(send(own).await.status, 401);

    let seen = upstream.seen();
    let seen: Vec<_> = seen
        .iter()
        .map(|seen| (&*seen.target, seen.key()))
        .collect();
    assert_eq!(
        seen,
        [("/v1?x=1", GOOD), ("/v1?x=1", OTHER), ("/", "sk-own")]
    );
}

#[tokio::test]
async fn without_a_client_token_each_route_accepts_local_clients_only() {
    let (upstream, gateway, _file) = three("").await;

    let mut foreign = post(&gateway.url("/a"));
    let host = "evil.example".parse().unwrap();
    foreign.headers_mut().insert("host", host);
    assert_eq!(send(foreign).await.status, 421);
    let page = with(post(&gateway.url("/a")), "origin", "http://page.example");
    assert_eq!(send(page).await.status, 403);
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_refused_key_of_one_route_leaves_the_others_alone() {
    let upstream = upstream().await;
    let keys = format!("keys = [\"{REVOKED}\", \"{GOOD}\"]");
    let file = ConfigFile::new(&format!(
        "[routes.a]\nprefix = \"/a\"\nprovider = \"openai\"\nupstream = \"{0}\"\n{keys}\n\
         [routes.b]\nprefix = \"/b\"\nprovider = \"anthropic\"\nupstream = \"{0}\"\n{keys}\n",
        upstream.url
    ));
    let gateway = configured(&file.path).listen().await;

    assert_eq!(send(post(&gateway.url("/a"))).await.status, 200);

    assert_eq!(
        gateway.states().await,
        ["permanent", "valid", "valid", "valid"]
    );
    assert_eq!(send(post(&gateway.url("/b"))).await.status, 200);
    assert_eq!(upstream.keys(), [REVOKED, GOOD, REVOKED, GOOD]);
}

#[tokio::test]
async fn each_route_has_its_own_limits() {
    let upstream = upstream().await;
    let fields = |prefix: &str, attempts: u8| {
        format!(
            "\n[routes.{prefix}]\nprefix = \"/{prefix}\"\nprovider = \"openai\"\nupstream = \"{}\"\n\
             keys = [\"{REVOKED}\", \"{LIMITED}\", \"{GOOD}\"]\nmax_attempts = {attempts}\n",
            upstream.url
        )
    };
    let file = ConfigFile::new(&[fields("two", 2), fields("three", 3)].concat());
    let gateway = configured(&file.path).listen().await;

    assert_eq!(send(post(&gateway.url("/two"))).await.status, 429);
    assert_eq!(send(post(&gateway.url("/three"))).await.status, 200);
}

#[tokio::test]
async fn errors_of_a_route_have_the_format_of_its_provider() {
    let (nobody, _socket) = crate::support::nobody();
    let file = ConfigFile::new(
        &[
            route("a", "prefix = \"/a\"", &nobody, GOOD),
            route("b", "prefix = \"/b\"", &nobody, OTHER).replace("openai", "anthropic"),
        ]
        .concat(),
    );
    let gateway = configured(&file.path).listen().await;

    let openai = send(get(&gateway.url("/a"))).await;
    let anthropic = send(get(&gateway.url("/b"))).await;

    assert_eq!((openai.status, anthropic.status), (502, 502));
    assert_eq!(openai.json()["error"]["code"], "server_error");
    assert_eq!(anthropic.json()["type"], "error");
}

#[tokio::test]
async fn routes_serve_http2_clients() {
    let (upstream, gateway, _file) = three("").await;
    let http2 = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<axum::body::Body>();

    for (target, status) in [("/a/v1", 200), ("/x", 404)] {
        let response = crate::support::soon(http2.request(get(&gateway.url(target)))).await;
        assert_eq!(response.unwrap().status(), status);
    }
    assert_eq!(upstream.seen()[0].target, "/v1");
}
