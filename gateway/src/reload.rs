//! Reads the keys again when their file changes, and when it is told to.
//!
//! The file's *directory* is watched: editors and Kubernetes put another file into the old one's place,
//! and what watches the file itself would go on watching the old one. Where the file is a link to
//! another directory, that one is watched too.
//!
//! What is said of it names keys by label and ends alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;
use tower_key_failover::KeyPool;
use tower_key_failover::pool::{KeyChanges, KeyName};

use crate::config::BadInput;
use crate::keys;
use crate::signals::Hangup;

/// How long to let a change come to an end. One that takes longer is read again when it has.
const SETTLE: Duration = Duration::from_millis(200);

/// How often to look unasked: some file systems tell of no change, and a directory that another one
/// has replaced tells of none any more.
const LOOK: Duration = Duration::from_secs(60);

pub struct Reload {
    file: PathBuf,
    pool: Arc<KeyPool>,
    /// What was read last, or why it could not be: neither is told of twice.
    last: Result<SecretString, String>,
}

impl Reload {
    /// `text` is what the pool's keys were read from.
    pub fn new(file: PathBuf, text: SecretString, pool: Arc<KeyPool>) -> Self {
        let last = Ok(text);
        Self { file, pool, last }
    }

    /// Goes on for ever.
    pub async fn run(mut self, mut hangup: Hangup) {
        let changed = Arc::new(Notify::new());
        let watcher = watch(&self.file, &changed);
        if let Err(error) = &watcher {
            let file = keys::source(&self.file);
            eprintln!("gateway: {file}: cannot be watched, so it is read on SIGHUP alone: {error}");
        }
        // It may have changed before it was watched.
        self.read(false);
        loop {
            tokio::select! {
                () = changed.notified() => {
                    tokio::time::sleep(SETTLE).await;
                    self.read(false);
                }
                () = tokio::time::sleep(LOOK) => self.read(false),
                () = hangup.next() => self.read(true),
            }
        }
    }

    /// `asked`: an answer is expected, whatever it is.
    fn read(&mut self, asked: bool) {
        let read = self.text();
        if is_same(&self.last, &read) && !asked {
            return;
        }
        let changes = match &read {
            Ok(text) => self.replace(text),
            Err(line) => Err(line.clone()),
        };
        self.last = read;
        match changes {
            Ok(changes) => eprintln!("gateway: keys read again: {}", told(&changes)),
            Err(line) => eprintln!("gateway: keys stay as they are: {line}"),
        }
    }

    fn text(&self) -> Result<SecretString, String> {
        match can_change(&self.file) {
            true => keys::read(&self.file).map_err(|BadInput(line)| line),
            false => Err(format!("{}: not a file any more", keys::source(&self.file))),
        }
    }

    fn replace(&self, text: &SecretString) -> Result<KeyChanges, String> {
        let from_there = |what: String| format!("{}: {what}", keys::source(&self.file));
        let keys = keys::parse(text).map_err(|BadInput(line)| from_there(line))?;
        let changes = self.pool.replace_keys(keys);
        changes.map_err(|error| from_there(error.to_string()))
    }
}

/// Whether there is a point in reading it again: a pipe gives its keys once.
pub fn can_change(file: &Path) -> bool {
    file.metadata().map_or(true, |there| there.is_file())
}

fn is_same(last: &Result<SecretString, String>, read: &Result<SecretString, String>) -> bool {
    match (last, read) {
        (Ok(last), Ok(read)) => last.expose_secret() == read.expose_secret(),
        (Err(last), Err(read)) => last == read,
        _ => false,
    }
}

/// Watches until it is dropped.
fn watch(file: &Path, changed: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is an event, too.
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

fn told(changes: &KeyChanges) -> String {
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
        // Nothing in a label is for the terminal to obey.
        Some(label) => format!("{} ({})", label.escape_debug(), key.hint),
        None => key.hint.to_string(),
    }
}
