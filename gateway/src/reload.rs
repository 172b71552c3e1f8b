//! Reloads the configuration and the keys when a file changes, and on SIGHUP.
//!
//! Everything is read and checked again before anything changes. The watcher watches the *directories*
//! of the files. Editors and Kubernetes replace a file, and a watcher of the file itself would keep
//! watching the old one. If a file is a link to another directory, the watcher watches that directory
//! too.
//!
//! Messages identify keys by label and hint.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;
use tower_key_failover::pool::{KeyChanges, KeyName};
use tracing::{info, warn};

use crate::bad_input::BadInput;
use crate::config::{Config, Source};
use crate::gateway::Gateway;
use crate::listener::Addresses;
use crate::routes::Changes;
use crate::settings::Settings;
use crate::signals::Hangup;

/// The time to wait for further changes before the files are read.
const SETTLE: Duration = Duration::from_millis(200);

/// The interval of unconditional checks. Some file systems report no changes, and a directory that
/// was replaced no longer does.
const POLL: Duration = Duration::from_secs(60);

pub struct Reload {
    source: Source,
    gateway: Arc<Gateway>,
    files: Vec<PathBuf>,
    /// The texts of the files, or why they cannot be read.
    texts: Vec<SecretString>,
    /// What was wrong with them.
    error: Option<String>,
    /// The settings that only a restart changes.
    settings: Settings,
}

impl Reload {
    /// `config` is what the gateway was started with.
    pub fn new(source: Source, config: Config, gateway: Arc<Gateway>) -> Self {
        Self {
            source,
            gateway,
            files: config.files,
            texts: config.texts,
            error: None,
            settings: config.settings,
        }
    }

    /// Runs forever.
    pub async fn run(mut self, mut hangup: Hangup) {
        let changed = Arc::new(Notify::new());
        loop {
            let files = self.files.clone();
            let directories = directories_of(&files);
            let _watcher = watch(&directories, &changed);
            // A file may have changed before the watcher started.
            self.read(false).await;
            while self.files == files && directories_of(&files) == directories {
                tokio::select! {
                    () = changed.notified() => {
                        tokio::time::sleep(SETTLE).await;
                        self.read(false).await;
                    }
                    () = tokio::time::sleep(POLL) => self.read(false).await,
                    () = hangup.next() => self.read(true).await,
                }
            }
        }
    }

    /// Reads everything, if a file has changed or was wrong. `report_unchanged` also reports what was
    /// reported before.
    async fn read(&mut self, report_unchanged: bool) {
        let texts: Vec<SecretString> = self.files.iter().map(|file| text(file)).collect();
        let is_new = !is_same(&self.texts, &texts);
        if !is_new && self.error.is_none() && !report_unchanged {
            return;
        }
        self.texts = texts;
        match self.config().await {
            Ok(config) => {
                self.error = None;
                self.apply(config);
            }
            Err(line) => {
                if is_new || report_unchanged || self.error.as_ref() != Some(&line) {
                    warn!(target: "gateway", "{} not reloaded: {line}", self.what());
                }
                self.error = Some(line);
            }
        }
    }

    async fn config(&self) -> Result<Config, String> {
        if let Some(file) = self.files.iter().find(|file| is_pipe(file)) {
            return Err(format!("{}: no longer a file", file.display()));
        }
        let config = self.source.read().map_err(|BadInput(line)| line)?;
        match Addresses::resolve(&config).await {
            Ok(_) => Ok(config),
            Err(problem) => Err(self.source.describe(&config, &problem).0),
        }
    }

    fn apply(&mut self, config: Config) {
        (self.files, self.texts) = (config.files, config.texts);
        let routes = config.routes.len();
        let changes = self.gateway.replace_routes(config.routes);
        match &self.source {
            Source::CommandLine(_) => {
                for (_, keys) in &changes.keys {
                    info!(target: "gateway", "reloaded keys: {}", summary(keys));
                }
            }
            Source::File(_) => {
                let name = self.source.name();
                let changed = of_routes(&changes);
                info!(target: "gateway", "reloaded {name}: {routes} routes{changed}");
                let changed_keys = changes
                    .keys
                    .iter()
                    .filter(|(_, keys)| !keys.added.is_empty() || !keys.removed.is_empty());
                for (route, keys) in changed_keys {
                    info!(target: "gateway", "reloaded keys of {route}: {}", summary(keys));
                }
                let fields = self.settings.differences(&config.settings);
                if !fields.is_empty() {
                    let fields = fields.join(", ");
                    warn!(target: "gateway", "{name}: restart the gateway to change {fields}");
                }
            }
        }
    }

    /// What is reloaded.
    fn what(&self) -> &'static str {
        match self.source {
            Source::CommandLine(_) => "keys",
            Source::File(_) => "configuration",
        }
    }
}

/// The text of a file, or why it cannot be read.
fn text(file: &Path) -> SecretString {
    match is_pipe(file) {
        true => SecretString::default(),
        false => std::fs::read_to_string(file)
            .unwrap_or_else(|error| error.to_string())
            .into(),
    }
}

/// Whether reading the file would wait for a writer.
fn is_pipe(file: &Path) -> bool {
    file.metadata().is_ok_and(|there| !there.is_file())
}

fn is_same(a: &[SecretString], b: &[SecretString]) -> bool {
    let mut pairs = a.iter().zip(b);
    a.len() == b.len() && pairs.all(|(a, b)| a.expose_secret() == b.expose_secret())
}

/// Starts a watcher, which stops when it is dropped.
fn watch(directories: &[PathBuf], changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let failed = |what: &str, error: notify::Error| {
        warn!(target: "gateway", "{what} cannot be watched, reload with SIGHUP: {error}");
    };
    let changed = Arc::clone(changed);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Ignore events for reading the file.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            changed.notify_one();
        }
    });
    let mut watcher = watcher.map_err(|error| failed("files", error)).ok()?;
    for directory in directories {
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            failed(&directory.display().to_string(), error);
        }
    }
    Some(watcher)
}

/// The directories to watch.
fn directories_of(files: &[PathBuf]) -> Vec<PathBuf> {
    files.iter().flat_map(|file| directories(file)).collect()
}

/// The directory of a file, and that of the file it links to.
fn directories(file: &Path) -> Vec<PathBuf> {
    let here = directory(file).to_owned();
    let there = file.canonicalize().ok();
    let there = there.map(|file| directory(&file).to_owned());
    let is_elsewhere = |there: &PathBuf| here.canonicalize().is_ok_and(|here| here != *there);
    let there = there.filter(is_elsewhere);
    [here].into_iter().chain(there).collect()
}

fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    }
}

/// The routes that were added and removed.
fn of_routes(changes: &Changes) -> String {
    let mut text = String::new();
    for (what, names) in [("added", &changes.added), ("removed", &changes.removed)] {
        if !names.is_empty() {
            text.push_str(&format!("; {what} {}", names.join(", ")));
        }
    }
    text
}

fn summary(changes: &KeyChanges) -> String {
    let mut parts = Vec::new();
    for (what, names) in [("added", &changes.added), ("removed", &changes.removed)] {
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(name).collect();
            parts.push(format!("{what} {}", names.join(", ")));
        }
    }
    parts.push(format!("kept {}", changes.kept));
    parts.join("; ")
}

fn name(key: &KeyName) -> String {
    match &key.label {
        // A label must not send escape sequences to the terminal.
        Some(label) => format!("{} ({})", label.escape_debug(), key.hint),
        None => key.hint.to_string(),
    }
}
