//! No output, response or file contains a key or a token, in any encoding.

#![cfg(unix)]

use axum::body::Body;
use axum::http::{Request, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::support::{
    ADMIN_TOKEN, Directory, GOOD, Gateway, LIMITED, REVOKED, TOKEN, Upstream, as_operator, gateway,
    get, nobody, post, send, upstream, upstream_with, with,
};

/// They contain characters that URLs, JSON and the variants of base64 encode differently.
const ECHOED: &str = "sk-canary-e+c/h=o?e~d\"-44444444";
const ADDED: &str = "sk-canary-a+d/d=e>d\\é-55555555";
const REPEATED: &str = "sk-canary-repeated-66666666";

const SECRETS: [&str; 8] = [
    REVOKED,
    LIMITED,
    GOOD,
    ECHOED,
    ADDED,
    REPEATED,
    TOKEN,
    ADMIN_TOKEN,
];

/// The length of a piece that counts as a leak. Hints show less.
const PIECE: usize = 12;

/// Everything that the gateway emits, with its source.
#[derive(Default)]
struct Emitted(Vec<(String, String)>);

impl Emitted {
    fn add(&mut self, from: &str, text: impl Into<String>) {
        self.0.push((from.to_owned(), text.into()));
    }

    async fn ask(&mut self, request: Request<Body>) -> u16 {
        let from = request.uri().to_string();
        let response = send(request).await;
        self.add(&from, format!("{:?}\n{}", response.headers, response.text));
        response.status
    }

    async fn ask_admin(&mut self, gateway: &Gateway) {
        for path in [
            "/",
            "/script.js",
            "/keys",
            "/failovers",
            "/metrics",
            "/healthz",
            "/about",
            "/nothing",
        ] {
            self.ask(get(&gateway.admin_url(path))).await;
        }
    }

    fn assert_clean(&self) {
        for (from, text) in &self.0 {
            for secret in SECRETS {
                for form in forms(secret) {
                    assert!(
                        !text.contains(&form),
                        "{form} of {secret} in {from}: {text}"
                    );
                }
            }
        }
    }
}

/// The pieces of a secret, and its encodings.
fn forms(secret: &str) -> Vec<String> {
    let characters: Vec<char> = secret.chars().collect();
    let mut forms: Vec<String> = characters
        .windows(PIECE)
        .map(|piece| piece.iter().collect())
        .collect();
    let bytes = secret.bytes();
    forms.push(bytes.clone().map(|byte| format!("%{byte:02X}")).collect());
    forms.push(bytes.clone().map(|byte| format!("{byte:02x}")).collect());
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            (byte as char).into()
        }
        _ => format!("%{byte:02X}"),
    };
    let url: String = bytes.map(encode).collect();
    forms.extend([url.replace("%20", "+"), url.to_lowercase(), url]);
    forms.push(format!("{secret:?}").trim_matches('"').to_owned());
    // Base64 at each offset, without the first and last characters, which depend on other bytes.
    for before in 0..3 {
        let padded = [&b"   "[..before], secret.as_bytes()].concat();
        let shown = (before * 8).div_ceil(6)..padded.len() * 8 / 6;
        forms.push(STANDARD_NO_PAD.encode(&padded)[shown.clone()].to_owned());
        forms.push(URL_SAFE_NO_PAD.encode(&padded)[shown].to_owned());
    }
    forms
}

/// An upstream whose refusals echo the request. It refuses some keys always, one key for this path
/// only, and every key for another path.
async fn echoing() -> Upstream {
    upstream_with(async |request| {
        let key = request.headers()["authorization"].as_bytes();
        let key = String::from_utf8_lossy(key).into_owned();
        let refuses_all = request.uri().path() == "/refused";
        let status = match key == format!("Bearer {ECHOED}") || refuses_all {
            true => 403,
            false => return Response::new("fine".into()),
        };
        Response::builder().status(status).body(key.into()).unwrap()
    })
    .await
}

async fn prints(gateway: &Gateway, what: &str, times: usize) {
    crate::support::until(async || gateway.stderr().matches(what).count() >= times).await;
}

/// Its response would be the request that the upstream received.
#[tokio::test]
async fn a_trace_request_is_not_forwarded() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let mut request = get(&gateway.url("/"));
    *request.method_mut() = axum::http::Method::TRACE;

    assert_eq!(send(request).await.status, 400);
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn no_output_response_or_file_contains_a_key_or_token() {
    tokio::join!(search("text"), search("json"));
}

/// Searches everything that a gateway emits that logs in this format.
async fn search(log: &str) {
    let (upstream, directory) = (echoing().await, Directory::new());
    let (keys, state) = (directory.path("keys"), directory.path("state"));
    let first = format!("one = {REVOKED}\n[org]\n{LIMITED}\n[]\n<b>three</b> = {ECHOED}\n{GOOD}\n");
    std::fs::write(&keys, &first).unwrap();
    let start = || {
        let start = gateway("openai", &upstream.url).keys_file(&keys).admin();
        let start = start.token().admin_token();
        let start = start.args([
            "--expose-failover",
            "--log",
            log,
            "--byok",
            "detect",
            "--probe-after",
            "0",
        ]);
        match cfg!(feature = "serde") {
            true => start.args(["--state-file", state.to_str().unwrap()]),
            false => start,
        }
    };
    let gateway = start().listen().await;
    let mut emitted = Emitted::default();
    let request = |path: &str| with(post(&gateway.url(path)), "x-api-key", TOKEN);
    let bearer = format!("Bearer {TOKEN}");

    // Requests of all kinds.
    assert_eq!(emitted.ask(request("/v1/responses")).await, 200);
    assert_eq!(emitted.ask(post(&gateway.url("/"))).await, 401);
    assert_eq!(
        emitted
            .ask(with(post(&gateway.url("/")), "authorization", &bearer))
            .await,
        200
    );
    assert_eq!(emitted.ask(request("/refused")).await, 403);
    emitted.ask_admin(&gateway).await;

    // Changes of all kinds, with and without the admin token.
    for path in [
        "one/reinstate",
        "1/disable",
        "nobody/disable",
        "0/nothing",
        "3/reinstate?hint=x",
    ] {
        let url = gateway.admin_url(&format!("/keys/{path}"));
        emitted.ask(as_operator(post(&url))).await;
        emitted
            .ask(with(post(&url), "authorization", &bearer))
            .await;
        emitted
            .ask(with(post(&url), "origin", "http://evil.example"))
            .await;
    }
    let added = format!("one = {REVOKED}\nadded = {ADDED}\n{GOOD}\n");
    std::fs::write(&keys, added).unwrap();
    prints(&gateway, "reloaded keys", 1).await;
    for bad in [
        format!("{REPEATED}\n{REPEATED}\n"),
        format!("{REPEATED}\n{REPEATED}\u{1}\n"),
        format!("7 = {REPEATED}\n"),
        format!(" = {REPEATED}\n"),
    ] {
        let reported = gateway.stderr().matches("keys not reloaded").count();
        std::fs::write(&keys, bad).unwrap();
        prints(&gateway, "keys not reloaded", reported + 1).await;
    }
    for label in ["one", "added"] {
        let url = gateway.admin_url(&format!("/keys/{label}/disable"));
        emitted.ask(as_operator(post(&url))).await;
    }
    emitted.ask(request("/v1/responses?key=1")).await;
    emitted.ask(request("/refused")).await;
    emitted.ask_admin(&gateway).await;

    gateway.signal("TERM").await;
    let ended = gateway.ended().await;
    assert_eq!(ended.stdout.lines().count(), 2);
    emitted.add("stdout", ended.stdout);
    emitted.add("stderr", ended.stderr);

    // Again, with the first keys.
    std::fs::write(&keys, &first).unwrap();
    let again = start().listen().await;
    emitted.ask_admin(&again).await;
    again.signal("TERM").await;
    emitted.add("stderr", again.ended().await.stderr);
    if cfg!(feature = "serde") {
        emitted.add("state file", std::fs::read_to_string(&state).unwrap());
    }
    // Invalid configurations.
    std::fs::write(&keys, format!("{REPEATED}\n{REPEATED}\n")).unwrap();
    emitted.add("refusal", start().refused().await);

    assert!(emitted.0.len() > 35, "{}", emitted.0.len());
    emitted.assert_clean();
}

#[test]
fn the_search_finds_a_secret_in_each_encoding() {
    let found = |text: &str| forms(ECHOED).iter().any(|form| text.contains(form));
    assert!(found(&format!("the key {ECHOED}.")));
    assert!(found(&ECHOED[8..24]));
    assert!(found("sk-canary-e%2Bc%2Fh%3Do%3Fe~d%22-44444444"));
    for before in ["", ":", "Bearer ", "user:"] {
        let text = format!("{before}{ECHOED} and more");
        assert!(found(&STANDARD_NO_PAD.encode(&text)), "{before}");
        assert!(found(&URL_SAFE_NO_PAD.encode(&text)), "{before}");
    }
    assert!(!found("sk-c...4444"));
}

#[tokio::test]
async fn errors_about_the_upstream_contain_no_key() {
    let (nowhere, _held) = nobody();
    let gateway = gateway("openai", &nowhere)
        .keys([GOOD])
        .token()
        .listen()
        .await;
    let request = with(
        post(&gateway.url("/?key=sk-in-the-query")),
        "x-api-key",
        TOKEN,
    );
    let mut emitted = Emitted::default();

    emitted.ask(request).await;
    gateway.signal("TERM").await;

    let ended = gateway.ended().await;
    assert!(ended.stderr.contains("the upstream cannot be reached"));
    assert!(!ended.stderr.contains("sk-in-the-query"));
    emitted.add("stderr", ended.stderr);
    emitted.assert_clean();
}
