//! Guides for specific tasks.

#[doc = include_str!("docs/recovery.md")]
pub mod recovery {}
#[doc = include_str!("docs/stacks.md")]
pub mod stacks {}
#[doc = include_str!("docs/observability.md")]
pub mod observability {}
#[doc = include_str!("docs/websocket.md")]
pub mod websocket {}
