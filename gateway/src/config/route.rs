//! The configuration of a route.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use tower_key_failover::KeyPool;

use super::problem::Problem;
use crate::bad_input::BadInput;
use crate::cooldown::Cooldown;
use crate::duration::Time;
use crate::environment;
use crate::keys::{self, KeyEntry};
use crate::matcher::Matcher;
use crate::policy::Policy;
use crate::request_choice::Strategy;
use crate::settings::RouteSettings;
use crate::upstream::Upstream;

pub struct RouteConfig {
    pub name: String,
    pub matcher: Matcher,
    pub policy: Policy,
    pub upstream: Upstream,
    /// The keys, and a pool of them. `None` if the clients always bring their own key.
    pub pool: Option<(Vec<KeyEntry>, KeyPool)>,
    pub pool_settings: PoolSettings,
    pub settings: RouteSettings,
}

/// The settings of a pool that cannot change while it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    selection: Strategy,
    cooldown: Cooldown,
    max_cooldown: Time,
    probe_after: Option<Time>,
    max_waiters: usize,
}

type KeysFile = Option<(PathBuf, SecretString)>;

impl RouteConfig {
    /// Checks the settings, and reads the keys. Also returns the keys file and its text.
    pub fn new(
        name: &str,
        mut settings: RouteSettings,
        folder: Option<&Path>,
    ) -> Result<(Self, KeysFile), Problem> {
        let at = |field, what: String| Problem::of_route(name, Some(field), what);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
            let what = "the name of a route consists of 1 to 64 letters, digits, - and _";
            return Err(Problem::of("routes", what));
        }
        let missing = |field| Problem::of_route(name, None, format!("{field} is missing"));
        let policy = settings.provider.take();
        let policy = policy.ok_or_else(|| missing("provider"))?;
        let upstream = settings.upstream.as_deref();
        let upstream = Upstream::parse(upstream.ok_or_else(|| missing("upstream"))?);
        let upstream = upstream.map_err(|what| at("upstream", what))?;
        let matcher = Matcher::new(&settings).map_err(|(field, what)| at(field, what))?;

        let (field, entries, file) = read_keys(name, &settings, &policy, folder)?;
        let pool_settings = PoolSettings::of(&settings);
        let pool = match entries {
            Some((source, keys)) => {
                let pool = pool_settings.build(name, &keys);
                let pool = pool.map_err(|what| at(field, format!("{source}{what}")))?;
                Some((keys, pool))
            }
            None => None,
        };
        let route = Self {
            name: name.to_owned(),
            matcher,
            policy: policy
                .byok(settings.byok.clone())
                .scope_from(settings.scope.clone())
                .refusals(&settings),
            upstream,
            pool,
            pool_settings,
            settings,
        };
        Ok((route, file))
    }
}

/// The keys, and how errors name their source.
type Sourced = Option<(String, Vec<KeyEntry>)>;

/// Reads the keys from where the settings say, and names the field that says so.
fn read_keys(
    route: &str,
    settings: &RouteSettings,
    policy: &Policy,
    folder: Option<&Path>,
) -> Result<(&'static str, Sourced, KeysFile), Problem> {
    let fields = [
        ("keys", settings.keys.is_some()),
        ("keys_env", settings.keys_env.is_some()),
        ("keys_file", settings.keys_file.is_some()),
    ];
    let mut given = fields.into_iter().filter(|(_, is_given)| *is_given);
    let at = |field, what: String| Problem::of_route(route, Some(field), what);
    let field = match (given.next(), given.next()) {
        (Some((field, _)), _) if policy.is_byok_only() => {
            let what = "copilot's clients always bring their own key";
            return Err(at(field, what.to_owned()));
        }
        (None, _) if policy.is_byok_only() => return Ok(("keys", None, None)),
        (Some((field, _)), None) => field,
        (Some((first, _)), Some((second, _))) => {
            return Err(at(
                second,
                format!("{first} is also given: use one of them"),
            ));
        }
        (None, _) => {
            let what = "no keys: give keys, keys_env or keys_file";
            return Err(Problem::of_route(route, None, what));
        }
    };
    let failed = |BadInput(what): BadInput| at(field, what);
    if let Some(file) = &settings.keys_file {
        let file = folder.unwrap_or(Path::new("")).join(file);
        // A reload would wait for the writer of a pipe.
        if folder.is_some() && file.metadata().is_ok_and(|there| !there.is_file()) {
            return Err(at(field, format!("{}: not a file", file.display())));
        }
        let text = keys::read(&file).map_err(failed)?;
        let source = format!("{}: ", file.display());
        let keys =
            keys::parse(&text).map_err(|BadInput(what)| at(field, format!("{source}{what}")));
        return Ok((field, Some((source, keys?)), Some((file, text))));
    }
    let keys = match (&settings.keys_env, &settings.keys) {
        // No message contains the name, because a key could be in its place.
        (Some(name), _) => match environment::variable(name) {
            Ok(Some(keys)) => keys::separated_by_commas(&keys),
            Ok(None) => return Err(at(field, "the variable is not set".to_owned())),
            Err(_) => return Err(at(field, "the variable is not valid UTF-8".to_owned())),
        },
        (None, entries) => {
            keys::parse_entries(entries.as_deref().unwrap_or_default()).map_err(failed)?
        }
    };
    Ok((field, Some((String::new(), keys)), None))
}

impl PoolSettings {
    fn of(settings: &RouteSettings) -> Self {
        Self {
            selection: settings.selection,
            cooldown: settings.cooldown.clone(),
            max_cooldown: settings.max_cooldown,
            probe_after: settings.probe_after,
            max_waiters: settings.max_waiters,
        }
    }

    /// Builds a pool with this name. No error contains a key.
    fn build(&self, name: &str, keys: &[KeyEntry]) -> Result<KeyPool, String> {
        let mut pool = KeyPool::builder().name(name).track_usage(true);
        pool = self.cooldown.add_to(pool);
        pool = pool
            .selection(self.selection.0)
            .max_cooldown(self.max_cooldown.0)
            .max_waiters(self.max_waiters);
        if let Some(time) = self.probe_after {
            pool = pool.probe_after(time.unless_zero());
        }
        let pool = keys.iter().fold(pool, |pool, key| key.add_to(pool));
        pool.build().map_err(|error| error.to_string())
    }
}
