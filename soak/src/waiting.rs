//! Waits with a limit.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tower_key_failover::BoxError;

pub async fn within<T>(seconds: u64, what: impl Future<Output = T>) -> Result<T, BoxError> {
    let timeout = timeout(Duration::from_secs(seconds), what).await;
    timeout.map_err(|_| format!("nothing happened for {seconds} s").into())
}

/// Looks again and again, until nothing is wrong. Returns what still is after this time.
pub async fn until_well<F>(seconds: u64, look: impl Fn() -> F) -> Result<Vec<String>, BoxError>
where
    F: Future<Output = Result<Vec<String>, BoxError>>,
{
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let wrong = look().await?;
        if wrong.is_empty() || Instant::now() >= end {
            return Ok(wrong);
        }
        sleep(Duration::from_millis(50)).await;
    }
}
