//! DeepSeek: OpenAI's shape, with types and codes that tell nothing.

use super::dialect::Dialect;
use super::openai;
use super::provider::policy;

policy! {
    /// DeepSeek: `authorization: Bearer <key>`.
    ///
    /// An empty balance is a 402, whatever its body says.
    DeepSeek,
    Dialect {
        name: "deepseek",
        bills_with_402: true,
        ..openai::DIALECT
    }
}
