//! The gateway process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower_key_failover::BoxError;

use crate::keys::{ROUTES, SoakKey};
use crate::upstream::{Address, TOKEN, Upstream, within};

/// The token of the operators.
pub const ADMIN_TOKEN: &str = "token-of-the-soaking-operators";

pub struct Gateway {
    pub url: String,
    pub admin: Admin,
    child: Child,
    errors: JoinHandle<String>,
    files: PathBuf,
}

/// The operators' access: the admin address and the keys files.
#[derive(Clone, Debug)]
pub struct Admin {
    url: String,
    files: PathBuf,
}

/// Resources of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub resident: u64,
    pub files: usize,
    pub threads: u64,
}

impl Gateway {
    pub async fn start(upstream: &Upstream, address: &Address) -> Result<Self, BoxError> {
        let binary = std::env::current_exe()?.with_file_name("key-failover-gateway");
        if !binary.exists() {
            return Err("build the gateway first: cargo build -p key-failover-gateway".into());
        }
        let name = format!("soak-{}-{}", std::process::id(), upstream.name);
        let files = std::env::temp_dir().join(name);
        std::fs::create_dir(&files)?;
        for route in ROUTES {
            std::fs::write(files.join(route), upstream.keys.file(route, None))?;
        }
        let config = files.join("gateway.toml");
        std::fs::write(&config, configuration(upstream.name, &address.url))?;
        let mut command = Command::new(binary);
        command
            .arg("--config")
            .arg(&config)
            .env("GATEWAY_CLIENT_TOKEN", TOKEN)
            .env("GATEWAY_ADMIN_TOKEN", ADMIN_TOKEN)
            .env_remove("GATEWAY_KEYS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(certificate) = &address.certificate {
            let trusted = files.join("trusted");
            std::fs::write(&trusted, certificate)?;
            command.env("SSL_CERT_FILE", &trusted);
        }
        let mut child = command.spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut stderr = child.stderr.take().ok_or("no output")?;
        let errors = tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            text
        });
        let url = announced(&mut stdout, "gateway listening on ").await?;
        let admin = Admin {
            url: announced(&mut stdout, "admin listening on ").await?,
            files: files.clone(),
        };
        Ok(Self {
            url,
            admin,
            child,
            errors,
            files,
        })
    }

    pub fn figures(&self) -> Result<Figures, BoxError> {
        let process = format!("/proc/{}", self.child.id().ok_or("the process has ended")?);
        let status = std::fs::read_to_string(format!("{process}/status"))?;
        let field = |name: &str| -> Result<u64, BoxError> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.ok_or("no such field")?.parse()?)
        };
        Ok(Figures {
            resident: field("VmRSS:")? * 1024,
            files: std::fs::read_dir(format!("{process}/fd"))?.count(),
            threads: field("Threads:")?,
        })
    }

    /// Stops the process and returns its stderr.
    pub async fn end(mut self) -> Result<String, BoxError> {
        let process = self.child.id().ok_or("the process has ended by itself")?;
        let mut kill = Command::new("kill");
        kill.args(["-s", "TERM", &process.to_string()])
            .status()
            .await?;
        let status = within(10, self.child.wait()).await??;
        std::fs::remove_dir_all(&self.files)?;
        let errors = within(10, self.errors).await??;
        match status.success() {
            true => Ok(errors),
            false => Err(format!("the gateway ended with {status}: {errors}").into()),
        }
    }
}

impl Admin {
    /// The state of each key.
    pub async fn keys(&self) -> Result<Value, BoxError> {
        self.ask(Method::GET, "/keys").await
    }

    /// Disables or reinstates a key.
    pub async fn change(&self, key: &SoakKey, position: u64, what: &str) -> Result<(), BoxError> {
        let (route, hint) = (key.route, key.hint());
        let path = format!("/keys/{position}/{what}?pool={route}&hint={hint}");
        self.ask(Method::POST, &path).await.map(drop)
    }

    /// Replaces the keys file of a route.
    pub fn write_keys(&self, route: &str, text: &str) -> Result<(), BoxError> {
        let file = self.files.join(route);
        let new = file.with_extension("new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, file)?)
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Value, BoxError> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let asked = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(AUTHORIZATION, format!("Bearer {ADMIN_TOKEN}"))
            .body(Empty::<Bytes>::new())?;
        let responded = async {
            let response = client.request(asked).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            match status.is_success() {
                true => Ok(serde_json::from_slice(&body)?),
                false => Err(BoxError::from(format!("{path}: {status} {body:?}"))),
            }
        };
        within(5, responded).await?
    }
}

/// Each route has a prefix and a base path of its own, by which the upstream recognizes it. The routes of both
/// gateways together have all strategies.
fn configuration(name: &str, upstream: &str) -> String {
    let strategies = match name {
        "h1" => ["in-order", "round-robin"],
        _ => ["least-in-flight", "weighted"],
    };
    let whole = "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nreplay_budget = 8000000\n";
    let routes = ROUTES.into_iter().zip(strategies).map(|(route, strategy)| {
        format!(
            "[routes.{route}]\nprefix = \"/{route}\"\nprovider = \"openai\"\n\
             upstream = \"{upstream}/at-{route}\"\nkeys_file = \"{route}\"\n\
             max_replay_bytes = 1000000\ncooldown = \"60s\"\n\
             selection = \"{strategy}\"\naffinity = \"header:x-soak-session\"\n"
        )
    });
    let scope = "scope = \"header:x-soak-scope\"\n".to_owned();
    [whole.to_owned()]
        .into_iter()
        .chain(routes)
        .chain([scope])
        .collect()
}

async fn announced(stdout: &mut BufReader<ChildStdout>, what: &str) -> Result<String, BoxError> {
    let mut line = String::new();
    within(10, stdout.read_line(&mut line)).await??;
    let url = line.trim_end().strip_prefix(what);
    Ok(url.ok_or_else(|| format!("{line:?}"))?.to_owned())
}

/// Waits until the number of files is stable.
pub async fn settled(gateway: &Gateway) -> Result<Figures, BoxError> {
    let (mut figures, mut same) = (gateway.figures()?, 0);
    for _ in 0..50 {
        sleep(Duration::from_millis(100)).await;
        let now = gateway.figures()?;
        same = if now.files == figures.files {
            same + 1
        } else {
            0
        };
        figures = now;
        if same == 3 {
            break;
        }
    }
    Ok(figures)
}

/// Waits, with a limit, until no more than `files` files are open.
pub async fn come_down(gateway: &Gateway, files: usize) -> Result<Figures, BoxError> {
    let mut figures = gateway.figures()?;
    for _ in 0..100 {
        if figures.files <= files {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        figures = gateway.figures()?;
    }
    Ok(figures)
}
