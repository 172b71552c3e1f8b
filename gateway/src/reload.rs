//! Reloads the keys when their file changes, and on SIGHUP.
//!
//! The watcher watches the *directory* of the file. Editors and Kubernetes replace the file, and a
//! watcher of the file itself would keep watching the old one. If the file is a link to another
//! directory, the watcher watches that directory too.
//!
//! Messages identify keys by label and hint.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;
use tower_key_failover::KeyPool;
use tower_key_failover::pool::{KeyChanges, KeyName};
use tracing::{info, warn};

use crate::bad_input::BadInput;
use crate::keys;
use crate::signals::Hangup;

/// The time to wait for further changes before the file is read.
const SETTLE: Duration = Duration::from_millis(200);

/// The interval of unconditional checks. Some file systems report no changes, and a directory that
/// was replaced no longer does.
const POLL: Duration = Duration::from_secs(60);

pub struct Reload {
    file: PathBuf,
    pool: Arc<KeyPool>,
    /// The last text or error, so that neither is reported twice.
    last: Result<SecretString, String>,
}

impl Reload {
    /// `text` is the text from which the pool was built.
    pub fn new(file: PathBuf, text: SecretString, pool: Arc<KeyPool>) -> Self {
        let last = Ok(text);
        Self { file, pool, last }
    }

    /// Runs forever.
    pub async fn run(mut self, mut hangup: Hangup) {
        let changed = Arc::new(Notify::new());
        let watcher = watch(&self.file, &changed);
        if let Err(error) = &watcher {
            let file = keys::source(&self.file);
            warn!(target: "gateway", "{file}: cannot be watched, reload it with SIGHUP: {error}");
        }
        // It may have changed before the watcher started.
        self.read(false);
        loop {
            tokio::select! {
                () = changed.notified() => {
                    tokio::time::sleep(SETTLE).await;
                    self.read(false);
                }
                () = tokio::time::sleep(POLL) => self.read(false),
                () = hangup.next() => self.read(true),
            }
        }
    }

    /// Reads the file. `report_unchanged` also reports a file that has not changed.
    fn read(&mut self, report_unchanged: bool) {
        let read = self.text();
        if is_same(&self.last, &read) && !report_unchanged {
            return;
        }
        let changes = match &read {
            Ok(text) => self.replace(text),
            Err(line) => Err(line.clone()),
        };
        self.last = read;
        match changes {
            Ok(changes) => info!(target: "gateway", "reloaded keys: {}", summary(&changes)),
            Err(line) => warn!(target: "gateway", "keys not reloaded: {line}"),
        }
    }

    fn text(&self) -> Result<SecretString, String> {
        match is_reloadable(&self.file) {
            true => keys::read(&self.file).map_err(|BadInput(line)| line),
            false => Err(format!("{}: no longer a file", keys::source(&self.file))),
        }
    }

    fn replace(&self, text: &SecretString) -> Result<KeyChanges, String> {
        let with_source = |what: String| format!("{}: {what}", keys::source(&self.file));
        let keys = keys::parse(text).map_err(|BadInput(line)| with_source(line))?;
        let changes = self.pool.replace_keys(keys);
        changes.map_err(|error| with_source(error.to_string()))
    }
}

/// Whether the file can be read again. A pipe can be read only once.
pub fn is_reloadable(file: &Path) -> bool {
    file.metadata().map_or(true, |there| there.is_file())
}

fn is_same(last: &Result<SecretString, String>, read: &Result<SecretString, String>) -> bool {
    match (last, read) {
        (Ok(last), Ok(read)) => last.expose_secret() == read.expose_secret(),
        (Err(last), Err(read)) => last == read,
        _ => false,
    }
}

/// Starts a watcher, which stops when it is dropped.
fn watch(file: &Path, changed: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Ignore events for reading the file.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            changed.notify_one();
        }
    })?;
    let directory = directory(file);
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    if let Ok(file) = file.canonicalize() {
        let links_to = self::directory(&file);
        if directory.canonicalize().is_ok_and(|path| path != links_to) {
            watcher.watch(links_to, RecursiveMode::NonRecursive)?;
        }
    }
    Ok(watcher)
}

fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    }
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
