//! What the gateway is told: flags, environment, and the file with the keys.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderName, Uri};
use clap::Parser;
use secrecy::{ExposeSecret, SecretString};
use tower_key_failover::KeyPool;
use tower_key_failover::policy::{self, Byok, Header, Provider};

const ENVIRONMENT: &str = "\
Environment:
  GATEWAY_KEYS          The provider's keys, separated by commas, the primary first
  GATEWAY_CLIENT_TOKEN  What clients must present, as a bearer token or as `x-api-key`, unless they
                        bring a key of their own. When unset, nothing is checked
  SSL_CERT_FILE         The certificates that upstreams are trusted by, instead of the system's

SDKs always send some key, and by default a request that brings one is sent on with it. So that
clients use the gateway's keys, set a token and have them send that, or use `--byok never`.";

/// A reverse proxy that goes on with the next API key when a provider refuses one.
#[derive(Debug, Parser)]
#[command(name = "gateway", after_help = ENVIRONMENT)]
struct Flags {
    /// anthropic, openai, copilot or another provider's name; grpc for a gRPC service; for what has
    /// no name, bearer or header:NAME
    #[arg(long, value_parser = provider)]
    provider: Provider,

    /// Where requests go: scheme, host and optionally a path that is put before theirs
    #[arg(long, value_name = "URL")]
    upstream: String,

    /// Where clients connect; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,

    /// Where `GET /keys` shows the state of each key
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,

    /// The provider's keys, one per line, `#` begins a comment; instead of GATEWAY_KEYS
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,

    /// Which requests bring a key of their own and are sent on with it: detect, never, or
    /// prefix:P for those whose key begins with P
    #[arg(long, default_value = "detect", value_parser = byok)]
    byok: Byok,

    /// How many keys one request tries at most [default: every usable one]
    #[arg(long, value_name = "N")]
    max_attempts: Option<NonZeroUsize>,

    /// The largest request body that can be sent again, in bytes [default: 32 MiB]
    #[arg(long, value_name = "N")]
    max_replay_bytes: Option<usize>,

    /// What all requests together hold for being sent again, in bytes [default: 1 GiB]
    #[arg(long, value_name = "N")]
    replay_budget: Option<usize>,
}

pub struct Config {
    pub policy: Provider,
    pub upstream: Upstream,
    pub listen: String,
    pub admin: Option<String>,
    /// `None` for a provider whose clients always bring their own key.
    pub pool: Option<Arc<KeyPool>>,
    pub client_token: Option<SecretString>,
    pub max_attempts: Option<NonZeroUsize>,
    pub max_replay_bytes: Option<usize>,
    pub replay_budget: Option<usize>,
}

/// What is wrong, in one line.
pub struct BadInput(pub String);

impl Config {
    pub fn read() -> Result<Self, BadInput> {
        let flags = Flags::try_parse().map_err(|error| {
            if !error.use_stderr() {
                error.exit(); // --help was asked for
            }
            one_line(&error)
        })?;
        let client_token = environment("GATEWAY_CLIENT_TOKEN")?;
        if client_token
            .as_ref()
            .is_some_and(|token| token.expose_secret().is_empty())
        {
            return bad("GATEWAY_CLIENT_TOKEN is empty: unset it, or give it a value");
        }
        let pool = match (flags.provider.name(), &flags.keys_file) {
            ("copilot", Some(_)) => {
                return bad("--keys-file: copilot's clients always bring their own key");
            }
            ("copilot", None) => None,
            _ => Some(Arc::new(read_keys(flags.keys_file.as_deref())?)),
        };
        Ok(Self {
            policy: flags.provider.byok(flags.byok),
            upstream: Upstream::parse(&flags.upstream)?,
            listen: flags.listen,
            admin: flags.admin,
            pool,
            client_token,
            max_attempts: flags.max_attempts,
            max_replay_bytes: flags.max_replay_bytes,
            replay_budget: flags.replay_budget,
        })
    }
}

fn provider(name: &str) -> Result<Provider, String> {
    match name.split_once(':') {
        Some(("header", header)) => HeaderName::from_bytes(header.as_bytes())
            .map(|header| Header::new(header).into())
            .map_err(|error| error.to_string()),
        _ => policy::for_name(name)
            .ok_or_else(|| "no such provider; try bearer or header:NAME".to_owned()),
    }
}

fn byok(text: &str) -> Result<Byok, String> {
    match (text, text.strip_prefix("prefix:")) {
        ("detect", _) => Ok(Byok::Detect),
        ("never", _) => Ok(Byok::Never),
        (_, Some(prefix)) if !prefix.is_empty() => Ok(Byok::prefixes([prefix])),
        _ => Err("expected detect, never or prefix:P".to_owned()),
    }
}

/// The pool, from the file or else from the environment. No message shows a key.
fn read_keys(file: Option<&Path>) -> Result<KeyPool, BadInput> {
    let (source, keys) = match file {
        Some(file) => {
            let source = format!("--keys-file {}", file.display());
            let text = std::fs::read_to_string(file)
                .map(SecretString::from)
                .map_err(|error| BadInput(format!("{source}: {error}")))?;
            let lines = text.expose_secret().trim_start_matches('\u{feff}').lines();
            let keys = lines.map(without_comment).filter(|line| !line.is_empty());
            (source, keys.map(SecretString::from).collect::<Vec<_>>())
        }
        None => {
            let Some(text) = environment("GATEWAY_KEYS")? else {
                return bad("no keys: set GATEWAY_KEYS or give --keys-file");
            };
            let keys = match text.expose_secret().trim() {
                "" => Vec::new(),
                keys => keys.split(',').map(|key| key.trim().into()).collect(),
            };
            ("GATEWAY_KEYS".to_owned(), keys)
        }
    };
    KeyPool::new(keys).map_err(|error| BadInput(format!("{source}: {error}")))
}

/// A comment begins at a `#` that starts the line or follows white space: a key may hold one.
fn without_comment(line: &str) -> &str {
    let comment = line.char_indices().find(|&(at, character)| {
        character == '#'
            && line[..at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
    });
    line[..comment.map_or(line.len(), |(at, _)| at)].trim()
}

fn environment(name: &str) -> Result<Option<SecretString>, BadInput> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value.into())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bad(format!("{name} is not valid UTF-8")),
    }
}

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    base: String,
}

impl Upstream {
    fn parse(text: &str) -> Result<Self, BadInput> {
        let uri: Uri = text
            .parse()
            .map_err(|_| BadInput(format!("--upstream {text}: not a URL")))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority), Some(path)) =
            (parts.scheme, parts.authority, parts.path_and_query)
        else {
            return bad(format!(
                "--upstream {text}: not a URL with http:// or https://"
            ));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return bad(format!(
                "--upstream {text}: not a URL with http:// or https://"
            ));
        }
        if authority.as_str().contains('@') {
            return bad("--upstream holds a user name or password, which would not be used");
        }
        if path.query().is_some() {
            return bad(format!(
                "--upstream {text}: a query cannot be joined with the request's"
            ));
        }
        let base = path.path().trim_end_matches('/').to_owned();
        Ok(Self {
            scheme,
            authority,
            base,
        })
    }

    /// The request's target at the upstream: its path below the base, and its query.
    /// `None` for the targets that have no path (`*`, and that of CONNECT).
    pub fn target(&self, of: &Uri) -> Option<Uri> {
        let path = of
            .path_and_query()
            .filter(|path| path.as_str().starts_with('/'))?;
        let path = match self.base.as_str() {
            "" => path.clone(),
            base => format!("{base}{path}").parse().ok()?,
        };
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone());
        uri.path_and_query(path).build().ok()
    }
}

fn bad<T>(line: impl Into<String>) -> Result<T, BadInput> {
    Err(BadInput(line.into()))
}

/// The first paragraph of what clap says: the rest is advice and usage.
fn one_line(error: &clap::Error) -> BadInput {
    let text = error.to_string();
    let text = text.split("\n\n").next().unwrap_or(&text);
    let words: Vec<&str> = text
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect();
    BadInput(words.join(" "))
}

impl From<io::Error> for BadInput {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}
