//! Automatic API-key failover for tower HTTP clients and proxies.

pub mod policy;
pub mod pool;

mod body;
mod sync;

pub use pool::KeyPool;
