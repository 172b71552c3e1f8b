use async_trait::async_trait;
use http::Extensions;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next, Result};
use tower::ServiceExt;
use tower_key_failover::policy::{Byok, Provider};
use tower_key_failover::{KeyFailover, KeyFailoverLayer, KeyPool};

use super::adapter::{self, Reqwest}; // the code of `guides::stacks::reqwest`

/// The last middleware: it sends the request itself, with the keys of a pool.
struct Keys(KeyFailover<Reqwest, Provider>);

#[async_trait]
impl Middleware for Keys {
    async fn handle(
        &self,
        request: reqwest::Request,
        _: &mut Extensions,
        _: Next<'_>,
    ) -> Result<reqwest::Response> {
        let request = http::Request::try_from(request)?;
        let response = self.0.clone().oneshot(request).await?;
        Ok(response.map(reqwest::Body::wrap).into())
    }
}

pub fn client(pool: KeyPool) -> reqwest::Result<ClientWithMiddleware> {
    let policy = Provider::anthropic().byok(Byok::Never);
    let keys = adapter::stack(KeyFailoverLayer::new(policy, pool))?;
    // This client sends nothing: `Keys` has its own.
    let client = ClientBuilder::new(reqwest::Client::new())
        // Add retries and tracing here.
        .with(Keys(keys))
        .build();
    Ok(client)
}
