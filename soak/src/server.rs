//! The server over which the replicas of a lane share the limits of their keys.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use test_support::redis_server::RedisServer;
use tower_key_failover::BoxError;

use crate::waiting::until_well;

pub struct Server {
    redis: RedisServer,
    /// Writes each command to a file, with those of scripts.
    monitor: Child,
    seen: Vec<PathBuf>,
}

impl Server {
    pub async fn start() -> Result<Self, BoxError> {
        // The dump is searched.
        let options: [&dyn AsRef<str>; 2] = [&"--rdbcompression", &"no"];
        let redis = RedisServer::start(&options).ok_or("the soak run needs redis-server")?;
        let (monitor, file) = monitor(&redis, 0).await?;
        Ok(Self {
            redis,
            monitor,
            seen: vec![file],
        })
    }

    pub fn url(&self) -> String {
        self.redis.url()
    }

    /// Kills the server.
    pub fn kill(&mut self) -> Result<(), BoxError> {
        self.save()?;
        self.redis.kill();
        self.monitor.kill()?;
        self.monitor.wait()?;
        Ok(())
    }

    /// Starts the server again, without its data.
    pub async fn start_again(&mut self) -> Result<(), BoxError> {
        self.redis.restart();
        let (monitor, file) = monitor(&self.redis, self.seen.len()).await?;
        self.monitor = monitor;
        self.seen.push(file);
        Ok(())
    }

    /// Returns which of the texts any command, message or record contained.
    pub fn search(&mut self, texts: &[String]) -> Result<Vec<String>, BoxError> {
        self.save()?;
        let mut wrong = Vec::new();
        for file in &self.seen {
            let seen = std::fs::read(file)?;
            let seen = String::from_utf8_lossy(&seen);
            if !seen.contains("tower-key-failover:{whole}") {
                wrong.push(format!("{}: the search looks at nothing", file.display()));
            }
            for text in texts {
                let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
                if seen.contains(text) || seen.contains(&hex) {
                    wrong.push(format!("{}: the server has seen {text}", file.display()));
                }
            }
        }
        Ok(wrong)
    }

    /// Keeps what the server stores now, out of its own reach.
    fn save(&mut self) -> Result<(), BoxError> {
        self.redis.run(&["SAVE"]);
        let folder = self.redis.folder();
        let kept = folder.join(format!("saved-{}", self.seen.len()));
        std::fs::rename(folder.join("dump.rdb"), &kept)?;
        self.seen.push(kept);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
    }
}

async fn monitor(redis: &RedisServer, number: usize) -> Result<(Child, PathBuf), BoxError> {
    let file = redis.folder().join(format!("commands-{number}"));
    let port = redis.addr().port().to_string();
    let child = Command::new("redis-cli")
        .args(["-p", &port, "MONITOR"])
        .stdin(Stdio::null())
        .stdout(File::create(&file)?)
        .stderr(Stdio::null())
        .spawn()?;
    let missing = until_well(5, || async {
        Ok(match std::fs::read(&file)?.is_empty() {
            true => vec!["the server does not show its commands".to_owned()],
            false => Vec::new(),
        })
    });
    match missing.await?.pop() {
        Some(missing) => Err(missing.into()),
        None => Ok((child, file)),
    }
}
