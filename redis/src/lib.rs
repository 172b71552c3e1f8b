//! Shares the rate limits of API keys between the replicas of a service, over Redis 6, Valkey, or later.
//!
//! Each replica of a service that uses [`tower_key_failover`] has a pool of its own. Without this crate,
//! each replica has to be refused itself before it leaves a key out. With it, the first replica that is
//! refused tells the others, within milliseconds.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tower_key_failover::{KeyFailoverLayer, KeyPool};
//! use tower_key_failover_redis::RedisSharing;
//!
//! # async fn example(secret: String) -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Arc::new(KeyPool::new(["sk-ant-first", "sk-ant-second"])?);
//!
//! let (sharing, run) = RedisSharing::new("rediss://redis.internal", "anthropic-prod")
//!     .secret(secret)
//!     .share(Arc::clone(&pool))?;
//! tokio::spawn(run);
//!
//! // The pool goes into a `KeyFailoverLayer`, as always.
//! println!("{:?}", sharing.status());
//! # Ok(())
//! # }
//! ```
//!
//! The [guide] says when sharing helps, what the server sees, and how large it has to be.
//!
//! # What is shared
//!
//! | On one replica | On the others |
//! |---|---|
//! | A key or a group cools down | It cools down for the same time, up to the pool's [`max_cooldown`] |
//! | A key is permanently marked | The key gets a suspicion: other keys come first, until a request succeeds with it or marks it permanently |
//! | A probe returns a key to service | A permanently marked key is probed by the next request that can |
//! | An operator disables or reinstates a key | The same |
//! | A key or a group is rate-limited in one scope, such as a model | It cools down in this scope. If another scope is refused there within a second, the key cools down |
//! | A key may not use a scope | Nothing: the reason may be the configuration of one replica |
//! | A key is suspected, or a request succeeds | Nothing |
//!
//! A replica that is misconfigured, for example with a wrong egress address, therefore makes no key
//! unusable for the others.
//!
//! Keys are identified by their text, so the order, the labels and the groups of the lists may differ.
//!
//! # Outages
//!
//! Requests never wait for the server: the exchange runs in the future that [`RedisSharing::share`]
//! returns. While the server is unavailable, replicas continue with what they know. Nothing is reopened.
//! When the server is back, even without its data, the replicas tell it what it lacks. Each outage is
//! logged once, when it begins and when it ends.
//!
//! [`max_cooldown`]: tower_key_failover::pool::KeyPoolBuilder::max_cooldown

mod connection;
mod error;
mod local;
mod names;
mod protocol;
mod record;
mod redirect;
mod register;
mod replica;
mod runner;
mod session;
mod shared;
mod sharing;
mod status;
mod timing;

pub use self::error::Error;
pub use self::sharing::{RedisSharing, Sharing};
pub use self::status::{SharingState, SharingStatus};

#[doc = include_str!("docs/guide.md")]
pub mod guide {}
