//! The built-in policies. Everything that is alike stands once, in [`provider`]; a provider's own
//! file says what it does its own way.

mod answer;
mod byok;
mod credentials;
mod dialect;
mod exhausted;
mod hints;
mod provider;

mod anthropic;
mod azure;
mod bedrock;
mod cohere;
mod copilot;
mod deepseek;
mod generic;
mod google;
mod groq;
#[cfg(feature = "grpc")]
mod grpc;
mod mistral;
mod openai;
mod openrouter;
mod perplexity;
mod together;
mod xai;

pub use self::anthropic::Anthropic;
pub use self::azure::AzureOpenAi;
pub use self::bedrock::Bedrock;
pub use self::byok::Byok;
pub use self::cohere::Cohere;
pub use self::copilot::Copilot;
pub use self::deepseek::DeepSeek;
pub use self::generic::{Bearer, Header};
pub use self::google::{Gemini, Vertex};
pub use self::groq::Groq;
#[cfg(feature = "grpc")]
pub use self::grpc::Grpc;
pub use self::mistral::Mistral;
pub use self::openai::OpenAi;
pub use self::openrouter::OpenRouter;
pub use self::perplexity::Perplexity;
pub use self::provider::Provider;
pub use self::together::Together;
pub use self::xai::Xai;

/// The policy of a provider by its name in a configuration file: `openai`, `anthropic`,
/// `azure_openai`, `gemini`, `vertex`, `bedrock`, `mistral`, `groq`, `deepseek`, `openrouter`,
/// `cohere`, `xai`, `together`, `perplexity`, `copilot`, or `bearer` for any other; and `grpc` with
/// the feature of that name.
///
/// ```
/// use tower_key_failover::policy;
///
/// assert_eq!(policy::for_name("groq").unwrap().name(), "groq");
/// assert!(policy::for_name("nobody").is_none());
/// ```
pub fn for_name(name: &str) -> Option<Provider> {
    Some(match name {
        "anthropic" => Anthropic::new().into(),
        "azure_openai" => AzureOpenAi::new().into(),
        "bearer" => Bearer::new().into(),
        "bedrock" => Bedrock::new().into(),
        "cohere" => Cohere::new().into(),
        "copilot" => Copilot::new().into(),
        "deepseek" => DeepSeek::new().into(),
        "gemini" => Gemini::new().into(),
        #[cfg(feature = "grpc")]
        "grpc" => Grpc::new().into(),
        "groq" => Groq::new().into(),
        "mistral" => Mistral::new().into(),
        "openai" => OpenAi::new().into(),
        "openrouter" => OpenRouter::new().into(),
        "perplexity" => Perplexity::new().into(),
        "together" => Together::new().into(),
        "vertex" => Vertex::new().into(),
        "xai" => Xai::new().into(),
        _ => return None,
    })
}
