//! Two replicas in one process. One is refused, and the other one skips the key.
//!
//! Needs a server: `cargo run -p tower-key-failover-redis --example two_replicas -- redis://127.0.0.1/`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tower_key_failover::KeyPool;
use tower_key_failover::pool::KeyState;
use tower_key_failover_redis::{RedisSharing, Sharing};

/// Starts a replica. All replicas have the same keys, the same name and the same secret.
fn replica(url: &str) -> Result<(Arc<KeyPool>, Sharing), Box<dyn Error>> {
    let pool = KeyPool::builder()
        .labeled_key("first", "sk-first-0123456789ab")
        .labeled_key("second", "sk-second-0123456789");
    let pool = Arc::new(pool.build()?);
    let (sharing, run) = RedisSharing::new(url, "example")
        // In a real service, the secret comes from where the keys come from.
        .secret("a secret of at least 16 bytes")
        .share(Arc::clone(&pool))?;
    tokio::spawn(run);
    Ok((pool, sharing))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| "redis://127.0.0.1/".into());
    let ((one, sharing), (other, other_sharing)) = (replica(&url)?, replica(&url)?);
    for sharing in [&sharing, &other_sharing] {
        sharing.started().await?;
        if let Some(problem) = sharing.status().problem {
            return Err(problem.into());
        }
    }

    // A layer does this when the provider answers 429.
    let key = one.keys().next().ok_or("a pool has a key")?;
    key.mark_temporary(Some(Duration::from_secs(5)));

    let start = Instant::now();
    while other.states()[0] == KeyState::Valid {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    println!(
        "The other replica knows after {:?}: {:?}",
        (Instant::now() - start),
        other.states()
    );

    // Before a replica ends, it can make sure that everything is sent.
    let is_sent = sharing.flush(Duration::from_secs(1)).await;
    println!("Everything is sent: {is_sent}. {:?}", sharing.status());
    Ok(())
}
