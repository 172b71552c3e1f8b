//! Guides for specific tasks.

#[doc = include_str!("docs/recovery.md")]
pub mod recovery {}

// Its examples need tonic and others: the crate `integrations` compiles them.
#[cfg_attr(not(doctest), doc = include_str!("docs/stacks.md"))]
#[cfg_attr(
    doctest,
    doc = "Layer order, and use with axum, hyper, tonic and reqwest."
)]
pub mod stacks {}

#[doc = include_str!("docs/scopes.md")]
pub mod scopes {}

#[doc = include_str!("docs/observability.md")]
pub mod observability {}

#[doc = include_str!("docs/websocket.md")]
pub mod websocket {}

#[doc = include_str!("docs/custom_policies.md")]
pub mod custom_policies {}
