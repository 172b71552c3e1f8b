use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use tower::{ServiceExt, service_fn};
use tower_key_failover::policy::{Byok, Provider};
use tower_key_failover::{KeyFailoverLayer, KeyPool};

use super::adapter; // the code of `guides::stacks::reqwest`

/// A client that uses the keys of `pool`.
pub fn client(pool: KeyPool, base: &str) -> reqwest::Result<Client<OpenAIConfig>> {
    // The SDK sends a placeholder, which a key of the pool replaces.
    let config = OpenAIConfig::new()
        .with_api_key("placeholder")
        .with_api_base(base);
    let policy = Provider::openai().byok(Byok::Never);
    let service = adapter::stack(KeyFailoverLayer::new(policy, pool))?;

    let bridge = service_fn(move |request: HttpRequestFactory| {
        let service = service.clone();
        async move {
            let request = http::Request::try_from(request.build().await?)?;
            let response = service.oneshot(request).await?;
            Ok::<_, OpenAIError>(response.map(reqwest::Body::wrap).into())
        }
    });
    Ok(Client::with_config(config).with_http_service(bridge))
}
