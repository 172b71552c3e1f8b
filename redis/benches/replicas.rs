//! What sharing costs and gains, with a real server: `cargo bench -p tower-key-failover-redis`.
//!
//! 1. The time from a mark on one replica to its application on another one.
//! 2. The commands of an idle replica.
//! 3. Refused attempts of many replicas whose keys have fixed windows, without sharing, with polling, and
//!    with messages. `REPLICAS=1000` and `SECONDS=30` are the defaults.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, interval, sleep};
use tower_key_failover::KeyPool;
use tower_key_failover::pool::KeyState;
use tower_key_failover_redis::{RedisSharing, Sharing, SharingState};

const KEYS: usize = 10;
const WINDOW: Duration = Duration::from_secs(10);
/// Requests of all replicas together.
const REQUESTS_PER_SECOND: f64 = 2_000.0;
/// How much more the replicas send than the windows allow.
const LOAD: f64 = 1.2;

struct Server(Child, u16);

impl Server {
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0")
            .ok()?
            .local_addr()
            .ok()?
            .port();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--maxclients",
            "20000",
        ]);
        let child = command.stdout(Stdio::null()).spawn().ok()?;
        std::thread::sleep(Duration::from_millis(500));
        Some(Self(child, port))
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.1)
    }

    fn run(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        let output = cli.args(["-p", &self.1.to_string()]).args(command).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    }

    /// A number of the server's statistics.
    fn figure(&self, name: &str) -> f64 {
        let info = self.run(&["INFO"]);
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.and_then(|text| text.trim().parse().ok())
            .unwrap_or(f64::NAN)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Replica {
    pool: Arc<KeyPool>,
    sharing: Option<Sharing>,
    task: Option<JoinHandle<()>>,
}

impl Replica {
    fn alone(keys: usize) -> Self {
        let pool = KeyPool::new((0..keys).map(|at| format!("sk-of-the-bench-{at}"))).unwrap();
        Self {
            pool: Arc::new(pool),
            sharing: None,
            task: None,
        }
    }

    fn shared(url: &str, keys: usize) -> Self {
        let mut replica = Self::alone(keys);
        let sharing = RedisSharing::new(url, "bench").secret("of-the-bench-0123456789");
        let (sharing, run) = sharing.share(Arc::clone(&replica.pool)).unwrap();
        replica.sharing = Some(sharing);
        replica.task = Some(tokio::spawn(run));
        replica
    }

    async fn connected(&self) {
        let Some(sharing) = &self.sharing else {
            return;
        };
        while sharing.status().state != SharingState::Connected {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A provider with one fixed window for each key.
struct Provider {
    start: Instant,
    capacity: u64,
    /// The number of the window, and what was used of it.
    used: [AtomicU64; KEYS],
    refused: AtomicU64,
    served: AtomicU64,
}

impl Provider {
    /// Returns how long the key is refused, if it is.
    fn request(&self, key: usize) -> Option<Duration> {
        let since = Instant::now().saturating_duration_since(self.start);
        let window = (since.as_nanos() / WINDOW.as_nanos()) as u64;
        let used = &self.used[key];
        let value = used.load(Ordering::Relaxed);
        if value >> 32 != window {
            let _ =
                used.compare_exchange(value, window << 32, Ordering::Relaxed, Ordering::Relaxed);
        }
        let before = used.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff;
        if before < self.capacity {
            self.served.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Some(WINDOW * (window as u32 + 1) - since)
    }
}

#[tokio::main]
async fn main() {
    let Some(server) = Server::start() else {
        println!("skipped: no redis-server in PATH");
        return;
    };
    latency(&server).await;
    idle(&server).await;
    drop(server);
    let number = |name, default| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (replicas, seconds) = (number("REPLICAS", 1_000), number("SECONDS", 30) as u64);
    for (name, shares, subscribes) in [
        ("not shared", false, false),
        ("polling", true, false),
        ("messages", true, true),
    ] {
        windows(name, shares, subscribes, replicas, seconds).await;
    }
}

async fn latency(server: &Server) {
    const MARKS: usize = 1_000;
    let one = Replica::shared(&server.url(), MARKS);
    let other = Replica::shared(&server.url(), MARKS);
    one.connected().await;
    other.connected().await;
    let keys: Vec<_> = one.pool.keys().collect();
    let mut times = Vec::new();
    for (at, key) in other.pool.keys().enumerate() {
        // The next mark is not part of a batch.
        sleep(Duration::from_millis(21)).await;
        let start = Instant::now();
        keys[at].mark_temporary(Some(Duration::from_secs(3_600)));
        while key.state() == KeyState::Valid {
            yield_now().await;
        }
        times.push(Instant::now().saturating_duration_since(start));
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "from mark to application: p50 {:?}, p99 {:?}, max {:?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

async fn idle(server: &Server) {
    let replica = Replica::shared(&server.url(), KEYS);
    replica.connected().await;
    let before = server.figure("total_commands_processed");
    sleep(Duration::from_secs(60)).await;
    // Without the two commands that ask, and what each script calls.
    let after = server.figure("total_commands_processed");
    let commands = replica.sharing.as_ref().unwrap().status().commands;
    println!(
        "an idle replica: {commands} commands in a minute, {} with those that the scripts call",
        after - before - 1.0
    );
}

async fn windows(name: &str, shares: bool, subscribes: bool, replicas: usize, seconds: u64) {
    let Some(server) = Server::start() else {
        return;
    };
    if !subscribes {
        server.run(&["ACL", "SETUSER", "default", "resetchannels"]);
    }
    let all: Vec<_> = (0..replicas)
        .map(|_| match shares {
            true => Replica::shared(&server.url(), KEYS),
            false => Replica::alone(KEYS),
        })
        .collect();
    for replica in &all {
        replica.connected().await;
    }
    let cpu_before = server.figure("used_cpu_user") + server.figure("used_cpu_sys");
    let sent_before = server.figure("total_net_output_bytes");
    let allowed = REQUESTS_PER_SECOND / LOAD * WINDOW.as_secs_f64() / KEYS as f64;
    let provider = Arc::new(Provider {
        start: Instant::now(),
        capacity: allowed as u64,
        used: [const { AtomicU64::new(0) }; KEYS],
        refused: AtomicU64::new(0),
        served: AtomicU64::new(0),
    });
    let is_over = Arc::new(AtomicBool::new(false));
    let pause = Duration::from_secs_f64(replicas as f64 / REQUESTS_PER_SECOND);
    let clients: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(at, replica)| {
            let (pool, provider) = (Arc::clone(&replica.pool), Arc::clone(&provider));
            let is_over = Arc::clone(&is_over);
            tokio::spawn(async move {
                sleep(pause.mul_f64(at as f64 / replicas as f64)).await;
                let mut ticks = interval(pause);
                while !is_over.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let mut walker = pool.walker();
                    while let Ok(key) = walker.next_key() {
                        // The provider's answer takes a moment.
                        sleep(Duration::from_millis(2)).await;
                        match provider.request(key.index()) {
                            None => break,
                            Some(wait) => {
                                key.mark_temporary(Some(wait));
                            }
                        }
                    }
                }
            })
        })
        .collect();
    sleep(Duration::from_secs(seconds)).await;
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let per_minute = 60.0 / seconds as f64;
    let refused = provider.refused.load(Ordering::Relaxed) as f64 * per_minute;
    let served = provider.served.load(Ordering::Relaxed) as f64 * per_minute;
    let cpu = server.figure("used_cpu_user") + server.figure("used_cpu_sys") - cpu_before;
    let sent = server.figure("total_net_output_bytes") - sent_before;
    println!(
        "{replicas} replicas, {name}: {refused:.0} refused and {served:.0} served per minute, \
         {:.1} % of one core and {:.1} kB/s of the server",
        100.0 * cpu / seconds as f64,
        sent / seconds as f64 / 1_000.0
    );
}
