//! Guides for specific tasks.

#[doc = include_str!("docs/recovery.md")]
pub mod recovery {}

#[doc = include_str!("docs/selection.md")]
pub mod selection {}

/// A page of text and one file of code. The root package does not depend on all the crates that the code
/// needs: the tests of the crate `integrations` compile and call it.
macro_rules! recipe {
    ($name:ident, $text:literal, $code:literal) => {
        #[doc = include_str!($text)]
        #[cfg_attr(not(doctest), doc = concat!("\n```\n", include_str!($code), "```"))]
        pub mod $name {}
    };
}

#[doc = include_str!("docs/stacks.md")]
pub mod stacks {
    recipe!(https, "docs/stacks/https.md", "docs/stacks/https.rs");
    recipe!(layers, "docs/stacks/layers.md", "docs/stacks/layers.rs");
    recipe!(axum, "docs/stacks/axum.md", "docs/stacks/axum.rs");
    recipe!(retry, "docs/stacks/retry.md", "docs/stacks/retry.rs");
    recipe!(
        load_shed,
        "docs/stacks/load_shed.md",
        "docs/stacks/load_shed.rs"
    );
    recipe!(
        connection,
        "docs/stacks/connection.md",
        "docs/stacks/connection.rs"
    );
    recipe!(tonic, "docs/stacks/tonic.md", "docs/stacks/tonic.rs");
    recipe!(reqwest, "docs/stacks/reqwest.md", "docs/stacks/reqwest.rs");
}

#[doc = include_str!("docs/compile_errors.md")]
pub mod compile_errors {}

#[doc = include_str!("docs/sdks.md")]
pub mod sdks {
    recipe!(
        async_openai,
        "docs/sdks/async_openai.md",
        "docs/sdks/async_openai.rs"
    );
    recipe!(rig, "docs/sdks/rig.md", "docs/sdks/rig.rs");
    recipe!(
        reqwest_middleware,
        "docs/sdks/reqwest_middleware.md",
        "docs/sdks/reqwest_middleware.rs"
    );
}

recipe!(testing, "docs/testing.md", "docs/testing.rs");

#[doc = include_str!("docs/scopes.md")]
pub mod scopes {}

#[doc = include_str!("docs/observability.md")]
pub mod observability {}

#[doc = include_str!("docs/websocket.md")]
pub mod websocket {}

#[doc = include_str!("docs/custom_policies.md")]
pub mod custom_policies {}

#[doc = include_str!("docs/comparison.md")]
pub mod comparison {}
