//! Shares the marks of all pools with the other replicas of the gateway, over Redis or Valkey, with the
//! feature `redis`.

#[cfg(feature = "redis")]
mod shared;
#[cfg(not(feature = "redis"))]
mod without;

#[cfg(feature = "redis")]
pub use self::shared::Replicas;
#[cfg(not(feature = "redis"))]
pub use self::without::Replicas;
