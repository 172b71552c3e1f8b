//! A process of the gateway.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower_key_failover::BoxError;

use crate::admin::{ADMIN_TOKEN, Admin};
use crate::figures::Figures;
use crate::files::Files;
use crate::upstream::TOKEN;
use crate::waiting::within;

pub struct Gateway {
    pub url: String,
    pub admin: Admin,
    child: Child,
    errors: JoinHandle<String>,
}

impl Gateway {
    /// Starts a process, which shares the limits of its keys by means of the secret.
    pub async fn start(files: &Files, secret: &str) -> Result<Self, BoxError> {
        let binary = match std::env::var_os("SOAK_GATEWAY") {
            Some(path) => path.into(),
            None => std::env::current_exe()?.with_file_name("key-failover-gateway"),
        };
        if !binary.exists() {
            return Err("build the gateway first: cargo build -p key-failover-gateway".into());
        }
        let mut command = Command::new(binary);
        command
            .arg("--config")
            .arg(files.configuration())
            .env("GATEWAY_CLIENT_TOKEN", TOKEN)
            .env("GATEWAY_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("GATEWAY_REDIS_SECRET", secret)
            .env_remove("GATEWAY_KEYS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(certificate) = &files.certificate {
            command.env("SSL_CERT_FILE", certificate);
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
        };
        Ok(Self {
            url,
            admin,
            child,
            errors,
        })
    }

    pub fn figures(&self) -> Result<Figures, BoxError> {
        Figures::of(self.child.id().ok_or("the process has ended")?)
    }

    /// Waits until the number of files is stable.
    pub async fn settled(&self) -> Result<Figures, BoxError> {
        let (mut figures, mut same) = (self.figures()?, 0);
        for _ in 0..50 {
            sleep(Duration::from_millis(100)).await;
            let now = self.figures()?;
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

    /// Waits, with a limit, until no more than these are in use.
    pub async fn come_down(&self, to: Figures) -> Result<Figures, BoxError> {
        let mut figures = self.figures()?;
        for _ in 0..100 {
            if figures.files <= to.files && figures.threads <= to.threads {
                break;
            }
            sleep(Duration::from_millis(100)).await;
            figures = self.figures()?;
        }
        Ok(figures)
    }

    /// Asks the process to stop. It finishes the requests in flight.
    pub async fn stop(&self) -> Result<(), BoxError> {
        let process = self.child.id().ok_or("the process has ended by itself")?;
        let mut kill = Command::new("kill");
        kill.args(["-s", "TERM", &process.to_string()]);
        kill.status().await?;
        Ok(())
    }

    /// Waits for the end, and returns stderr.
    pub async fn ended(mut self) -> Result<String, BoxError> {
        let status = within(15, self.child.wait()).await??;
        let errors = within(10, self.errors).await??;
        match status.success() {
            true => Ok(errors),
            false => Err(format!("the gateway ended with {status}: {errors}").into()),
        }
    }
}

async fn announced(stdout: &mut BufReader<ChildStdout>, what: &str) -> Result<String, BoxError> {
    let mut line = String::new();
    within(10, stdout.read_line(&mut line)).await??;
    let url = line.trim_end().strip_prefix(what);
    Ok(url.ok_or_else(|| format!("{line:?}"))?.to_owned())
}
