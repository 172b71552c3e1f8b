//! The configuration: the settings, checked as a whole, with the keys they refer to.
//!
//! - `source.rs` reads it from the command line or from a file, and `toml_file.rs` parses the file;
//! - `route.rs` contains the configuration of a route;
//! - `problem.rs` describes what is wrong with a setting.

mod problem;
mod route;
mod source;
mod toml_file;

use std::path::{Path, PathBuf};

use axum::http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

pub use self::problem::Problem;
pub use self::route::{PoolSettings, RouteConfig};
pub use self::source::Source;
use crate::bad_input::{BadInput, bad};
use crate::environment;
use crate::matcher::Matcher;
use crate::replicas::Replicas;
use crate::settings::Settings;

pub struct Config {
    pub settings: Settings,
    /// The routes, each checked against the others.
    pub routes: Vec<RouteConfig>,
    /// The files that were read, and their texts.
    pub files: Vec<PathBuf>,
    pub texts: Vec<SecretString>,
    pub client_token: Option<SecretString>,
    pub admin_token: Option<SecretString>,
    /// The secret of all replicas. It is there if the settings name a server.
    pub redis_secret: Option<SecretString>,
}

impl Config {
    /// Reads the keys, and checks everything. With a folder, keys files are regular files, and their
    /// paths are relative to the folder.
    fn new(mut settings: Settings, folder: Option<&Path>) -> Result<Self, Problem> {
        let (client_token, admin_token) = tokens().map_err(|BadInput(what)| Problem {
            path: Vec::new(),
            line: None,
            what,
        })?;
        let routes = std::mem::take(&mut settings.routes);
        let mut config = Self {
            settings,
            routes: Vec::new(),
            files: Vec::new(),
            texts: Vec::new(),
            client_token,
            admin_token,
            redis_secret: None,
        };
        for (name, route) in routes {
            let (route, file) = RouteConfig::new(&name, route, folder)?;
            if let Some((file, text)) = file {
                config.files.push(file);
                config.texts.push(text);
            }
            config.check_matcher(&name, &route.matcher)?;
            config.routes.push(route);
        }
        if config.routes.is_empty() {
            return Err(Problem::of("routes", "at least one route is required"));
        }
        config.check_state_file()?;
        config.check_redis()?;
        Ok(config)
    }

    /// Whether only local clients may use the keys. Without a token, nothing else tells clients apart.
    pub fn is_local_only(&self) -> bool {
        self.client_token.is_none() && !self.settings.open
    }

    /// Whether the configuration can be read again. A pipe can be read only once.
    pub fn is_reloadable(&self) -> bool {
        let is_file = |file: &PathBuf| file.metadata().map_or(true, |there| there.is_file());
        !self.files.is_empty() && self.files.iter().all(is_file)
    }

    fn check_matcher(&self, name: &str, matcher: &Matcher) -> Result<(), Problem> {
        let same = |other: &&RouteConfig| other.matcher.is_same(matcher);
        if let Some(other) = self.routes.iter().find(same) {
            let what = format!("has the host and the prefix of routes.{}", other.name);
            return Err(Problem::of_route(name, None, what));
        }
        if self.is_local_only() && !matcher.can_be_local() {
            let what = "only local hosts are accepted without a client token: set \
                        GATEWAY_CLIENT_TOKEN, or open = true to let anyone who can connect use the keys";
            return Err(Problem::of_route(name, Some("host"), what));
        }
        Ok(())
    }

    fn check_state_file(&self) -> Result<(), Problem> {
        let problem = |what: &str| Err(Problem::of("state_file", what));
        if self.settings.state_file.is_none() {
            return Ok(());
        }
        if !cfg!(feature = "serde") {
            return problem("this build does not support it; build with --features serde");
        }
        match self.routes.iter().all(|route| route.pool.is_none()) {
            true => problem("no route has keys: copilot's clients always bring their own key"),
            false => Ok(()),
        }
    }
}

impl Config {
    fn check_redis(&mut self) -> Result<(), Problem> {
        let Some(url) = &self.settings.redis else {
            return Ok(());
        };
        let secret = environment::variable("GATEWAY_REDIS_SECRET");
        let secret = secret.map_err(|BadInput(what)| Problem::of("redis", &what))?;
        let Some(secret) = secret else {
            let what = "requires GATEWAY_REDIS_SECRET, the secret of all replicas";
            return Err(Problem::of("redis", what));
        };
        for route in self.routes.iter().filter(|route| route.pool.is_some()) {
            Replicas::check(url, &secret, &route.name)
                .map_err(|what| Problem::of("redis", &what))?;
        }
        self.redis_secret = Some(secret);
        Ok(())
    }
}

/// The tokens of the clients and of the operators.
fn tokens() -> Result<(Option<SecretString>, Option<SecretString>), BadInput> {
    let client = token("GATEWAY_CLIENT_TOKEN")?;
    let admin = token("GATEWAY_ADMIN_TOKEN")?;
    if let (Some(client), Some(admin)) = (&client, &admin)
        && client.expose_secret() == admin.expose_secret()
    {
        return bad("GATEWAY_ADMIN_TOKEN is the clients' token: give it another value");
    }
    Ok((client, admin))
}

/// Reads a token from the environment. White space around it is ignored, because the files that tokens
/// come from often end with a line feed.
fn token(name: &str) -> Result<Option<SecretString>, BadInput> {
    let Some(token) = environment::variable(name)? else {
        return Ok(None);
    };
    let token = token.expose_secret().trim();
    if token.is_empty() {
        return bad(format!("{name} is empty: unset it, or give it a value"));
    }
    if HeaderValue::from_str(token).is_err() {
        return bad(format!(
            "{name} contains a character that a header cannot contain"
        ));
    }
    Ok(Some(token.into()))
}
