//! GitHub Copilot.

use super::dialect::Dialect;
use super::openai;
use super::provider::policy;

policy! {
    /// GitHub Copilot, whose clients always bring a token of their own: every request is BYOK,
    /// whatever [`byok`](Self::byok) says, and the layer needs no pool
    /// (`KeyFailoverLayer::disabled`).
    Copilot,
    Dialect {
        name: "copilot",
        byok_only: true,
        bills_with_402: true,
        ..openai::DIALECT
    }
}
