//! Perplexity: OpenAI's shape.

use super::dialect::Dialect;
use super::openai;
use super::provider::policy;

policy! {
    /// Perplexity: `authorization: Bearer <key>`.
    ///
    /// A 401 in HTML is its answer to a bad key, and one of the type `insufficient_quota` is an
    /// exhausted quota.
    Perplexity,
    Dialect {
        name: "perplexity",
        ..openai::DIALECT
    }
}
