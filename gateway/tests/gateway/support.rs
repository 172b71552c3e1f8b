//! The gateway process, an upstream and a client.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

pub const REVOKED: &str = "sk-canary-revoked-11111111";
pub const LIMITED: &str = "sk-canary-limited-22222222";
pub const GOOD: &str = "sk-canary-good-33333333";
pub const TOKEN: &str = "token-canary-of-the-clients";
pub const ADMIN_TOKEN: &str = "token-canary-of-the-operator";

/// Waits with a limit.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(20), what).await;
    waited.expect("it does not happen in time")
}

/// Polls the condition until it is true.
pub async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    soon(async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// The command line and environment of a gateway to start.
pub struct Start {
    command: Command,
    has_admin: bool,
}

/// A running gateway.
pub struct Gateway {
    pub url: String,
    /// The admin address, or empty without `--admin`.
    pub admin: String,
    child: Child,
    stdout: JoinHandle<String>,
    /// What it has printed so far, and the task that reads it.
    stderr: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

/// The exit status and the output.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A gateway in front of `upstream`, on a free port, without gateway variables in its environment.
pub fn gateway(provider: &str, upstream: &str) -> Start {
    bare()
        .args(["--provider", provider, "--upstream", upstream])
        .args(["--listen", "127.0.0.1:0"])
}

/// A gateway without flags.
pub fn bare() -> Start {
    let mut command = Command::new(env!("CARGO_BIN_EXE_key-failover-gateway"));
    for name in ["KEYS", "CLIENT_TOKEN", "ADMIN_TOKEN", "REDIS_SECRET"] {
        command.env_remove(format!("GATEWAY_{name}"));
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Start {
        command,
        has_admin: false,
    }
}

/// A gateway with this configuration file.
pub fn configured(file: &Path) -> Start {
    let mut start = bare().args(["--config", file.to_str().unwrap()]);
    start.has_admin = std::fs::read_to_string(file).is_ok_and(|text| text.contains("admin ="));
    start
}

impl Start {
    pub fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.has_admin |= args.contains(&"--admin");
        self.command.args(args);
        self
    }

    pub fn keys<const N: usize>(self, keys: [&str; N]) -> Self {
        self.env("GATEWAY_KEYS", &keys.join(","))
    }

    pub fn token(self) -> Self {
        self.env("GATEWAY_CLIENT_TOKEN", TOKEN)
    }

    pub fn admin(self) -> Self {
        self.args(["--admin", "127.0.0.1:0"])
    }

    pub fn admin_token(self) -> Self {
        self.env("GATEWAY_ADMIN_TOKEN", ADMIN_TOKEN)
    }

    pub fn keys_file(self, path: &Path) -> Self {
        self.args(["--keys-file", path.to_str().unwrap()])
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts the gateway, and reads its addresses from its output.
    pub async fn listen(mut self) -> Gateway {
        let mut child = self.command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let stderr = Arc::new(Mutex::new(String::new()));
        let printed = Arc::clone(&stderr);
        let reading = tokio::spawn(async move {
            while let Some(line) = lines.next_line().await.unwrap() {
                let mut printed = printed.lock().unwrap();
                printed.push_str(&line);
                printed.push('\n');
            }
        });

        let mut output = String::new();
        let mut announced = async |what: &str| {
            let from = output.len();
            soon(stdout.read_line(&mut output)).await.unwrap();
            let url = output[from..].trim_end().strip_prefix(what);
            let url = url.unwrap_or_else(|| panic!("expected {what:?} in {output:?}"));
            url.to_owned()
        };
        let url = announced("gateway listening on ").await;
        let admin = match self.has_admin {
            true => announced("admin listening on ").await,
            false => String::new(),
        };
        let stdout = tokio::spawn(async move {
            stdout.read_to_string(&mut output).await.unwrap();
            output
        });
        Gateway {
            url,
            admin,
            child,
            stdout,
            stderr,
            reading,
        }
    }

    /// Runs it until it ends.
    pub async fn output(mut self) -> std::process::Output {
        soon(self.command.output()).await.unwrap()
    }

    /// Starts the gateway with an invalid configuration, and returns its one-line message.
    pub async fn refused(mut self) -> String {
        let output = soon(self.command.output()).await.unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(output.stdout.is_empty());
        line
    }
}

impl Gateway {
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let mut kill = Command::new("kill");
        let status = kill.args(["-s", name, &pid]).status();
        assert!(soon(status).await.unwrap().success());
    }

    /// Whether it has a handler for SIGHUP. Sending the signal would not show it, because the signal is
    /// ignored under `nohup`.
    #[cfg(target_os = "linux")]
    pub fn catches_sighup(&self) -> bool {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        caught & 1 == 1
    }

    /// Limits the number of its file descriptors.
    #[cfg(target_os = "linux")]
    pub async fn limit_open_files(&self, limit: u32) {
        let pid = self.child.id().unwrap().to_string();
        let limit = format!("--nofile={limit}:{limit}");
        let status = Command::new("prlimit")
            .args(["--pid", &pid, &limit])
            .status();
        assert!(soon(status).await.unwrap().success());
    }

    pub async fn ended(mut self) -> Ended {
        let status = soon(self.child.wait()).await.unwrap();
        soon(self.reading).await.unwrap();
        Ended {
            status,
            stdout: soon(self.stdout).await.unwrap(),
            stderr: self.stderr.lock().unwrap().clone(),
        }
    }

    /// What it has printed to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until it has printed this to stderr.
    pub async fn prints(&self, what: &str) {
        until(async || self.stderr().contains(what)).await;
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("{}{path}", self.admin)
    }

    /// Sends a change with the admin token.
    pub async fn change(&self, path: &str) -> Received {
        send(as_operator(post(&self.admin_url(path)))).await
    }

    /// The response of `/keys`.
    pub async fn keys(&self) -> Value {
        let response = send(get(&self.admin_url("/keys"))).await;
        serde_json::from_str(&response.text).unwrap()
    }

    /// The state of each key, in order.
    pub async fn states(&self) -> Vec<String> {
        let keys = self.keys().await;
        let state = |key: &Value| key["state"].as_str().unwrap().to_owned();
        keys.as_array().unwrap().iter().map(state).collect()
    }
}

/// A provider whose response depends on the key. It records each request.
pub struct Upstream {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub target: String,
    pub headers: HeaderMap,
}

impl Seen {
    /// The credential, from any header.
    pub fn key(&self) -> &str {
        let key = self.header("x-api-key").or(self.header("authorization"));
        key.map_or("", |key| key.trim_start_matches("Bearer "))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }
}

/// An upstream that refuses [`REVOKED`] and [`LIMITED`], and responds to other keys with `fine`.
pub async fn upstream() -> Upstream {
    upstream_with(async |_| Response::new("fine".into())).await
}

/// An upstream that refuses [`REVOKED`] and [`LIMITED`], and responds to other keys with `respond`.
pub async fn upstream_with<F, A>(respond: F) -> Upstream
where
    F: Fn(Request<Body>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let handler = async move |request: Request<Body>| {
        let note = Seen {
            target: request.uri().to_string(),
            headers: request.headers().clone(),
        };
        let status = match note.key() {
            REVOKED => 401,
            LIMITED => 429,
            _ => 200,
        };
        notes.lock().unwrap().push(note);
        if status == 200 {
            return respond(request).await;
        }
        let refused = Response::builder().status(status);
        refused
            .header("retry-after", "30")
            .body(Body::empty())
            .unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(handler)).await });
    Upstream { url, seen }
}

impl Upstream {
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The keys of the requests, in order.
    pub fn keys(&self) -> Vec<String> {
        self.seen()
            .iter()
            .map(|seen| seen.key().to_owned())
            .collect()
    }
}

/// A new file with this text, which only its owner can read.
pub fn file(text: &str) -> PathBuf {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let name = format!("gateway-test-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    write_private(&path, text);
    path
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

/// A new directory, which is deleted with its content when dropped.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        let path = file("");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of its files, sorted.
    #[cfg(feature = "serde")]
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An address on which nobody listens, and a socket that reserves it.
pub fn nobody() -> (String, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (url, socket)
}

pub struct Received {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

pub fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::empty()).unwrap()
}

pub fn post(url: &str) -> Request<Body> {
    Request::post(url).body(Body::from("question")).unwrap()
}

pub fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

pub fn as_operator(request: Request<Body>) -> Request<Body> {
    with(request, "authorization", &format!("Bearer {ADMIN_TOKEN}"))
}

pub fn client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Sends a request over HTTP/1.1, and reads the complete response.
pub async fn send(request: Request<Body>) -> Received {
    send_with(&client(), request).await
}

/// The same with a client that keeps its connections.
pub async fn send_with(client: &Client<HttpConnector, Body>, request: Request<Body>) -> Received {
    let response = soon(client.request(request)).await.unwrap();
    let (head, body) = response.into_parts();
    let text = soon(body.collect()).await.unwrap().to_bytes();
    Received {
        status: head.status.as_u16(),
        headers: head.headers,
        text: String::from_utf8(text.to_vec()).unwrap(),
    }
}

/// The next data frame of a body, as text.
pub async fn next_data<B>(body: &mut B) -> Option<String>
where
    B: hyper::body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let data = soon(body.frame()).await?.unwrap().into_data().unwrap();
    Some(String::from_utf8(data.to_vec()).unwrap())
}
