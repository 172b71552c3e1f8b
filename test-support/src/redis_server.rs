//! A redis-server from `PATH`. It is killed when the handle is dropped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::fake_clock::FakeClock;

/// The password that all servers with one have.
pub const PASSWORD: &str = "of-the-server-0123456789";

#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    folder: PathBuf,
    options: Vec<String>,
    password: Option<&'static str>,
    /// Sets the server's clock.
    clock: Option<FakeClock>,
}

impl RedisServer {
    /// Starts a server with these options. `None` if there is no redis-server.
    pub fn start(options: &[&dyn AsRef<str>]) -> Option<Self> {
        Self::start_with(options, None)
    }

    /// Starts a server whose clock [`set_clock`](Self::set_clock) sets. `None` without libfaketime.
    pub fn with_fake_clock() -> Option<Self> {
        Self::start_with(&[], Some(FakeClock::new()?))
    }

    fn start_with(options: &[&dyn AsRef<str>], clock: Option<FakeClock>) -> Option<Self> {
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
            let child = spawn(port, &folder, &options, clock.as_ref())?;
            let mut server = Self {
                child,
                port,
                folder: folder.clone(),
                options: options.clone(),
                password: None,
                clock: clock.clone(),
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

    pub fn url(&self) -> String {
        let password = self.password.map(|password| format!(":{password}@"));
        format!(
            "redis://{}127.0.0.1:{}/",
            password.unwrap_or_default(),
            self.port
        )
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Moves the server's clock to so many hours from the true time.
    pub fn set_clock(&self, hours: i32) {
        let clock = self.clock.as_ref().expect("the clock is the true one");
        clock.set(&format!("{hours:+}h"));
    }

    /// What the server's clock shows, in seconds.
    pub fn time(&self) -> i64 {
        let time = self.run(&["TIME"]);
        time.lines().next().unwrap().parse().unwrap()
    }

    /// Runs one command. Returns what redis-cli prints.
    pub fn run(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string(), "--no-auth-warning"]);
        if let Some(password) = self.password {
            cli.args(["-a", password]);
        }
        let output = cli.args(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts a command that takes a while.
    pub fn start_command(&self, command: &[&str]) -> Child {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]).args(command);
        cli.stdout(Stdio::null()).spawn().unwrap()
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again, at the same port and without its data.
    pub fn restart(&mut self) {
        for _ in 0..50 {
            let clock = self.clock.as_ref();
            self.child = spawn(self.port, &self.folder, &self.options, clock).unwrap();
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

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
        if let Some(clock) = &self.clock {
            let _ = std::fs::remove_file(&clock.file);
        }
    }
}

/// The server that is tested: that of the variable `REDIS_SERVER`, or the one in `PATH`.
fn program() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

/// The version of the server: 7 and 0, for example.
pub fn version() -> (u32, u32) {
    static VERSION: OnceLock<(u32, u32)> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let output = Command::new(program()).arg("--version").output();
        let text = String::from_utf8(output.map(|it| it.stdout).unwrap_or_default()).unwrap();
        let version = text.split(" v=").nth(1).unwrap_or("0.0");
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap(), numbers.next().unwrap_or(0))
    })
}

/// Returns `None` if there is no such server.
fn spawn(port: u16, folder: &Path, options: &[String], clock: Option<&FakeClock>) -> Option<Child> {
    let port = port.to_string();
    let mut command = Command::new(program());
    if version() >= (7, 0) {
        command.args(["--enable-debug-command", "yes"]);
    }
    if let Some(clock) = clock {
        clock.give(&mut command);
    }
    command
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
        .arg("--dir")
        .arg(folder)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().ok()
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
