use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tower_key_failover::KeyPool;

use crate::connection::Server;
use crate::error::Error;
use crate::local::LocalPool;
use crate::names::Names;
use crate::protocol::Version;
use crate::redirect::Route;
use crate::replica::Replica;
use crate::runner::Runner;
use crate::shared::Shared;
use crate::status::SharingStatus;
use crate::timing::Timing;

const SHORTEST_SECRET: usize = 16;
const LONGEST_NAME: usize = 128;

/// How a pool is shared: over which server, under which name, and with which secret.
///
/// See the [crate docs](crate) for an example.
pub struct RedisSharing {
    url: String,
    name: String,
    secret: SecretString,
    timing: Timing,
}

impl RedisSharing {
    /// Shares a pool as `name` over the server at `url`: `redis://user:password@host:port/database`, or
    /// `rediss://` with TLS.
    ///
    /// Pools with the same name and secret are replicas of each other. A name has 1 to 128 characters,
    /// without braces and spaces. The server sees it.
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: name.into(),
            secret: SecretString::default(),
            timing: Timing::DEFAULT,
        }
    }

    /// Sets the secret of all replicas, of at least 16 bytes. The server never sees it.
    ///
    /// Keys and groups are identified by HMACs with this secret, so that those who can read the server
    /// learn nothing about them.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<SecretString>) -> Self {
        self.secret = secret.into();
        self
    }

    /// Checks the URL, the name and the secret, without connecting.
    ///
    /// # Errors
    ///
    /// Returns the same error as [`share`](Self::share).
    pub fn validate(&self) -> Result<(), Error> {
        self.check().map(drop)
    }

    fn check(&self) -> Result<Server, Error> {
        let is_legal = |byte: u8| byte > b' ' && !matches!(byte, b'{' | b'}' | 0x7f);
        let has_length = (1..=LONGEST_NAME).contains(&self.name.len());
        if !has_length || !self.name.bytes().all(is_legal) {
            return Err(Error::InvalidName);
        }
        if self.secret.expose_secret().len() < SHORTEST_SECRET {
            return Err(Error::ShortSecret);
        }
        Server::new(&self.url, &self.name, self.timing.answers_within)
    }

    /// Makes timeouts, polls and retries faster, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn faster(mut self, divisor: u32) -> Self {
        self.timing = self.timing.divided_by(divisor);
        self
    }

    /// Shares `pool` for as long as the returned future runs. The caller spawns the future. Dropping it
    /// stops the sharing and changes nothing else. The future ends only when it is dropped.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the URL, the name or the secret is unusable. Nothing is connected yet, so an
    /// unreachable server is not an error. [`Sharing::started`] waits for what the server knows.
    pub fn share(
        self,
        pool: impl Into<Arc<KeyPool>>,
    ) -> Result<(Sharing, impl Future<Output = ()> + Send + 'static), Error> {
        let server = self.check()?;
        let shared = Arc::new(Shared::new(self.name.clone()));
        let names = Names::new(&self.secret, &self.name);
        let runner = Runner {
            server: Arc::new(server),
            pool: LocalPool::new(pool.into()),
            replica: Replica::new(names.clone()),
            names,
            version: Version::default(),
            route: Route::default(),
            shared: Arc::clone(&shared),
            timing: self.timing,
        };
        Ok((Sharing { shared }, runner.run()))
    }
}

/// Shows the name, and neither the URL nor the secret.
impl fmt::Debug for RedisSharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSharing")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A handle to a shared pool. Dropping it changes nothing.
#[derive(Clone)]
pub struct Sharing {
    shared: Arc<Shared>,
}

impl Sharing {
    /// Returns whether the pool is connected to its replicas, and what was exchanged.
    pub fn status(&self) -> SharingStatus {
        self.shared.status()
    }

    /// Waits until the pool knows what the server knows, which takes at most a few seconds once the
    /// future of [`RedisSharing::share`] runs. A service that waits for this before it serves requests uses no
    /// key that an operator has disabled. A server that cannot be reached is not an error, and ends the wait.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NotRedis`] if the server at the URL is another one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn started(&self) -> Result<(), Error> {
        self.shared.started().await
    }

    /// Sends everything that the server lacks at once, before the process ends, for example. Returns
    /// whether the server has everything within `timeout`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn flush(&self, timeout: Duration) -> bool {
        self.shared.flush(timeout).await
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing")
            .field("status", &self.status())
            .finish()
    }
}
