//! The dialects of all providers, as data. A provider with rules of its own has a file.

mod anthropic;
mod azure;
mod bedrock;
mod cohere;
pub(super) mod google;
mod groq;
mod mistral;
mod openai;
mod openrouter;
mod perplexity;
mod together;
mod xai;

use super::dialect::Dialect;

pub(super) const ANTHROPIC: &Dialect = &anthropic::DIALECT;
pub(super) const AZURE_OPENAI: &Dialect = &azure::DIALECT;
pub(super) const BEARER: &Dialect = &Dialect::BEARER;
pub(super) const BEDROCK: &Dialect = &bedrock::DIALECT;
pub(super) const COHERE: &Dialect = &cohere::DIALECT;
pub(super) const COPILOT: &Dialect = &Dialect {
    name: "copilot",
    byok_only: true,
    bills_with_402: true,
    ..openai::DIALECT
};
pub(super) const DEEPSEEK: &Dialect = &Dialect {
    name: "deepseek",
    bills_with_402: true,
    ..openai::DIALECT
};
pub(super) const GEMINI: &Dialect = &google::GEMINI;
pub(super) const GROQ: &Dialect = &groq::DIALECT;
/// The name of the header is a setting of the policy.
pub(super) const HEADER: &Dialect = &Dialect {
    name: "header",
    ..Dialect::BEARER
};
pub(super) const MISTRAL: &Dialect = &mistral::DIALECT;
pub(super) const OPENAI: &Dialect = &openai::DIALECT;
pub(super) const OPENROUTER: &Dialect = &openrouter::DIALECT;
pub(super) const PERPLEXITY: &Dialect = &perplexity::DIALECT;
pub(super) const TOGETHER: &Dialect = &together::DIALECT;
pub(super) const VERTEX: &Dialect = &google::VERTEX;
pub(super) const XAI: &Dialect = &xai::DIALECT;

/// The dialects that a configuration file can name, in alphabetical order.
pub(super) const NAMED: [&Dialect; 16] = [
    ANTHROPIC,
    AZURE_OPENAI,
    BEARER,
    BEDROCK,
    COHERE,
    COPILOT,
    DEEPSEEK,
    GEMINI,
    GROQ,
    MISTRAL,
    OPENAI,
    OPENROUTER,
    PERPLEXITY,
    TOGETHER,
    VERTEX,
    XAI,
];
