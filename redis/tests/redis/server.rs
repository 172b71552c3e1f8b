//! A redis-server of its own for each test. It is killed when the test ends.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The password that all servers with one have.
pub(crate) const PASSWORD: &str = "of-the-server-0123456789";

pub(crate) struct Server {
    child: Child,
    port: u16,
    folder: PathBuf,
    options: Vec<String>,
    password: Option<&'static str>,
}

/// Starts a server with these options, or skips the test.
#[macro_export]
macro_rules! server {
    ($($option:expr),* $(,)?) => {
        match $crate::server::Server::start(&[$(&$option as &dyn AsRef<str>),*]) {
            Some(server) => server,
            None => {
                println!("skipped: no redis-server in PATH");
                return;
            }
        }
    };
}

impl Server {
    pub(crate) fn start(options: &[&dyn AsRef<str>]) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-key-failover-redis-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let options: Vec<_> = options
            .iter()
            .map(|text| text.as_ref().to_owned())
            .collect();
        // Another process can take the port in between.
        for _ in 0..10 {
            let port = free_port();
            let child = spawn(port, &folder, &options)?;
            let mut server = Self {
                child,
                port,
                folder: folder.clone(),
                options: options.clone(),
                password: None,
            };
            if server.options.iter().any(|option| option == PASSWORD) {
                server.password = Some(PASSWORD);
            }
            if server.is_ready() {
                return Some(server);
            }
        }
        panic!("no redis-server starts");
    }

    pub(crate) fn url(&self) -> String {
        let password = self.password.map(|password| format!(":{password}@"));
        format!(
            "redis://{}127.0.0.1:{}/",
            password.unwrap_or_default(),
            self.port
        )
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs one command. Returns what redis-cli prints.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string(), "--no-auth-warning"]);
        if let Some(password) = self.password {
            cli.args(["-a", password]);
        }
        let output = cli.args(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts a command that takes a while.
    pub(crate) fn start_command(&self, command: &[&str]) -> Child {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]).args(command);
        cli.stdout(Stdio::null()).spawn().unwrap()
    }

    /// Sends a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again, at the same port and without its data.
    pub(crate) fn restart(&mut self) {
        for _ in 0..50 {
            self.child = spawn(self.port, &self.folder, &self.options).unwrap();
            if self.is_ready() {
                return;
            }
            self.kill();
        }
        panic!("the server does not start again");
    }

    fn is_ready(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(self.addr()).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Returns `None` if there is no redis-server.
fn spawn(port: u16, folder: &Path, options: &[String]) -> Option<Child> {
    let port = port.to_string();
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
        .args(["--enable-debug-command", "yes"])
        .arg("--dir")
        .arg(folder)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().ok()
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
