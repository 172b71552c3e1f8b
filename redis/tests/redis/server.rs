//! A redis-server of its own for each test. It is killed when the test ends.

pub(crate) use test_support::fake_clock::FakeClock;
pub(crate) use test_support::redis_server::{PASSWORD, RedisServer as Server, free_port, version};

/// The hash of the pool.
pub(crate) const KEY: &str = "tower-key-failover:{pool}";

/// Starts a server with these options, or skips the test.
#[macro_export]
macro_rules! server {
    ($($option:expr),* $(,)?) => {
        match $crate::server::Server::start(&[$(&$option as &dyn AsRef<str>),*]) {
            Some(server) => server,
            None => {
                println!("skipped: no redis-server");
                return;
            }
        }
    };
}
