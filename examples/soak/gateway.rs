//! The gateway, as a process of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tower_key_failover::BoxError;

use crate::upstream::{Address, TOKEN, Upstream, within};

pub struct Gateway {
    pub url: String,
    admin: String,
    child: Child,
    errors: JoinHandle<String>,
    files: Vec<PathBuf>,
}

/// What the system says of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub resident: u64,
    pub files: usize,
    pub threads: u64,
}

impl Gateway {
    pub async fn start(upstream: &Upstream, address: &Address) -> Result<Self, BoxError> {
        let binary = std::env::current_exe()?.with_file_name("gateway");
        if !binary.exists() {
            return Err("build the gateway first: cargo build --example gateway".into());
        }
        let keys = file(upstream.name, "keys", &upstream.keys.file())?;
        let mut command = Command::new(binary);
        command
            .args(["--provider", "openai", "--upstream", &address.url])
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args([
                "--max-replay-bytes",
                "1000000",
                "--replay-budget",
                "8000000",
            ])
            .arg("--keys-file")
            .arg(&keys)
            .env("GATEWAY_CLIENT_TOKEN", TOKEN)
            .env_remove("GATEWAY_KEYS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut files = vec![keys];
        if let Some(certificate) = &address.certificate {
            let trusted = file(upstream.name, "trusted", certificate)?;
            command.env("SSL_CERT_FILE", &trusted);
            files.push(trusted);
        }
        let mut child = command.spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut stderr = child.stderr.take().ok_or("no output")?;
        let errors = tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            text
        });
        let url = told(&mut stdout, "gateway listening on ").await?;
        let admin = told(&mut stdout, "admin listening on ").await?;
        Ok(Self {
            url,
            admin,
            child,
            errors,
            files,
        })
    }

    /// The state of each key, as the admin sees it.
    pub async fn keys(&self) -> Result<Value, BoxError> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let asked = async {
            let response = client.get(format!("{}/keys", self.admin).parse()?).await?;
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>(serde_json::from_slice(&body)?)
        };
        within(5, asked).await?
    }

    pub fn figures(&self) -> Result<Figures, BoxError> {
        let process = format!("/proc/{}", self.child.id().ok_or("it has ended")?);
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

    /// Ends it, which takes no time once nothing is under way, and returns what it wrote to stderr.
    pub async fn end(mut self) -> Result<String, BoxError> {
        let process = self.child.id().ok_or("it has ended by itself")?;
        let mut kill = Command::new("kill");
        kill.args(["-s", "TERM", &process.to_string()])
            .status()
            .await?;
        let status = within(10, self.child.wait()).await??;
        for file in &self.files {
            std::fs::remove_file(file)?;
        }
        let errors = within(10, self.errors).await??;
        match status.success() {
            true => Ok(errors),
            false => Err(format!("the gateway ended with {status}: {errors}").into()),
        }
    }
}

async fn told(stdout: &mut BufReader<ChildStdout>, what: &str) -> Result<String, BoxError> {
    let mut line = String::new();
    within(10, stdout.read_line(&mut line)).await??;
    let url = line.trim_end().strip_prefix(what);
    Ok(url.ok_or_else(|| format!("{line:?}"))?.to_owned())
}

fn file(lane: &str, what: &str, text: &str) -> Result<PathBuf, BoxError> {
    let name = format!("soak-{}-{lane}-{what}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Until what goes away by itself has gone.
pub async fn settle(gateway: &Gateway, files: usize) -> Result<Figures, BoxError> {
    for _ in 0..100 {
        let figures = gateway.figures()?;
        if figures.files <= files {
            return Ok(figures);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    gateway.figures()
}
