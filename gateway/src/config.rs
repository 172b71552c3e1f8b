//! The configuration, from the command line and the environment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use secrecy::{ExposeSecret, SecretString};
use tower_key_failover::KeyPool;
use tower_key_failover::pool::KeyPoolBuilder;

use crate::bad_input::{BadInput, bad};
use crate::flags::{Cooldowns, Flags, Limits};
use crate::logging::Format;
use crate::policy::Policy;
use crate::upstream::Upstream;
use crate::{environment, keys};

pub struct Config {
    pub policy: Policy,
    pub upstream: Upstream,
    pub listen: String,
    pub admin: Option<String>,
    /// `None` for a provider whose clients always bring their own key.
    pub pool: Option<Arc<KeyPool>>,
    /// The keys file and its text.
    pub keys_file: Option<(PathBuf, SecretString)>,
    #[cfg(feature = "serde")]
    pub state_file: Option<PathBuf>,
    pub client_token: Option<SecretString>,
    pub admin_token: Option<SecretString>,
    /// Whether anyone who can connect may use the keys without a token.
    pub open: bool,
    pub expose_failover: bool,
    pub log: Format,
    pub limits: Limits,
}

impl Config {
    pub fn read() -> Result<Self, BadInput> {
        let flags = Flags::try_parse().map_err(|error| {
            if !error.use_stderr() {
                error.exit(); // --help or --version was asked for
            }
            one_line(&error)
        })?;
        let client_token = token("GATEWAY_CLIENT_TOKEN")?;
        let admin_token = token("GATEWAY_ADMIN_TOKEN")?;
        if let (Some(client), Some(admin)) = (&client_token, &admin_token)
            && client.expose_secret() == admin.expose_secret()
        {
            return bad("GATEWAY_ADMIN_TOKEN is the clients' token: give it another value");
        }
        let has_keys = flags.provider.name() != "copilot";
        if flags.keys_file.is_some() && !has_keys {
            return bad("--keys-file: copilot's clients always bring their own key");
        }
        if flags.state_file.is_some() && !has_keys {
            return bad("--state-file: copilot's clients always bring their own key");
        }
        if flags.state_file.is_some() && !cfg!(feature = "serde") {
            return bad(
                "--state-file: this build does not support it; build with --features serde",
            );
        }
        if flags.keys_file.is_some() && environment::variable("GATEWAY_KEYS")?.is_some() {
            return bad("--keys-file and GATEWAY_KEYS are both given: use one of them");
        }
        let keys_file = match &flags.keys_file {
            Some(file) => Some((file.clone(), keys::read(file)?)),
            None => None,
        };
        let pool = match has_keys {
            true => Some(Arc::new(flags.pool(keys_file.as_ref())?)),
            false => None,
        };
        Ok(Self {
            policy: flags.provider.byok(flags.byok),
            upstream: Upstream::parse(&flags.upstream)?,
            listen: flags.listen,
            admin: flags.admin.map(or_port),
            pool,
            keys_file,
            #[cfg(feature = "serde")]
            state_file: flags.state_file,
            client_token,
            admin_token,
            open: flags.open,
            expose_failover: flags.expose_failover,
            log: flags.log,
            limits: flags.limits,
        })
    }
}

impl Config {
    /// Whether only local clients may use the keys. Without a token, nothing else tells clients apart.
    pub fn is_local_only(&self) -> bool {
        self.client_token.is_none() && !self.open
    }
}

impl Flags {
    /// Builds the pool from the keys file or the environment. No error contains a key.
    fn pool(&self, file: Option<&(PathBuf, SecretString)>) -> Result<KeyPool, BadInput> {
        let (source, keys) = match file {
            Some((file, text)) => (keys::source(file), keys::parse(text)),
            None => ("GATEWAY_KEYS".to_owned(), Ok(keys::from_environment()?)),
        };
        let with_source = |what: String| BadInput(format!("{source}: {what}"));
        let keys = keys.map_err(|BadInput(line)| with_source(line))?;
        let pool = self.cooldowns.apply(KeyPool::builder());
        let pool = pool.name(self.provider.name());
        let pool = pool.max_waiters(self.limits.max_waiters).track_usage(true);
        let pool = keys.into_iter().fold(pool, |pool, key| key.add_to(pool));
        pool.build().map_err(|error| with_source(error.to_string()))
    }
}

impl Cooldowns {
    fn apply(&self, pool: KeyPoolBuilder) -> KeyPoolBuilder {
        let pool = self.cooldown.clone().unwrap_or_default().add_to(pool);
        let pool = pool.max_cooldown(self.max_cooldown);
        match self.probe_after {
            Some(time) => pool.probe_after(unless_zero(time)),
            None => pool,
        }
    }
}

/// `None` for 0, which disables a setting.
pub fn unless_zero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// Adds the loopback address to a port.
fn or_port(address: String) -> String {
    match address.parse::<u16>() {
        Ok(port) => format!("127.0.0.1:{port}"),
        Err(_) => address,
    }
}

/// Reads a token from the environment. It must not be empty.
fn token(name: &str) -> Result<Option<SecretString>, BadInput> {
    let token = environment::variable(name)?;
    match &token {
        Some(token) if token.expose_secret().is_empty() => {
            bad(format!("{name} is empty: unset it, or give it a value"))
        }
        _ => Ok(token),
    }
}

/// The first paragraph of clap's message and its suggestion, without usage.
fn one_line(error: &clap::Error) -> BadInput {
    let text = error.to_string();
    let text = text.split("\n\n").next().unwrap_or(&text);
    let words: Vec<&str> = text
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect();
    let mut line = words.join(" ");
    if let Some(ContextValue::String(flag)) = error.get(ContextKind::SuggestedArg) {
        line.push_str("; did you mean ");
        line.push_str(flag);
        line.push('?');
    }
    BadInput(line)
}
