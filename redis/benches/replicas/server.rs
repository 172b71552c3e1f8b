//! A redis-server of its own for each run. It is killed when the run ends.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

pub(crate) struct Server {
    child: Child,
    addr: SocketAddr,
}

/// What the server counts.
#[derive(Clone, Copy)]
pub(crate) struct Statistics {
    /// Seconds of CPU time.
    pub(crate) cpu: f64,
    /// Commands that replicas sent, without those that scripts call.
    pub(crate) commands: f64,
    pub(crate) received_bytes: f64,
    pub(crate) sent_bytes: f64,
    pub(crate) memory_bytes: f64,
}

impl Server {
    /// Returns `None` if there is no redis-server.
    pub(crate) async fn start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &addr.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--maxclients", "20000"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let server = Self {
            child: command.spawn().ok()?,
            addr,
        };
        for _ in 0..500 {
            if TcpStream::connect(addr).await.is_ok() {
                return Some(server);
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not listen");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.addr)
    }

    /// No replica can subscribe any more. Polls are all that they have.
    pub(crate) async fn deny_messages(&self) {
        self.run("ACL SETUSER default resetchannels").await;
    }

    pub(crate) async fn statistics(&self) -> Statistics {
        let (server, commands) = (self.run("INFO").await, self.run("INFO commandstats").await);
        let figure = |name: &str| -> f64 {
            let value = server
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|text| text.parse().ok()).unwrap()
        };
        let evalsha = commands
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let calls = evalsha.and_then(|rest| rest.split(',').next());
        Statistics {
            cpu: figure("used_cpu_user") + figure("used_cpu_sys"),
            commands: calls.map_or(0.0, |calls| calls.parse().unwrap()),
            received_bytes: figure("total_net_input_bytes"),
            sent_bytes: figure("total_net_output_bytes"),
            memory_bytes: figure("used_memory"),
        }
    }

    /// Runs one command on a connection of its own. Returns its reply as text.
    async fn run(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let commands = format!("{command}\r\nQUIT\r\n");
        stream.write_all(commands.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
