//! Saves the state of the keys to a file and restores it after a restart. The file contains salted
//! fingerprints and no key.
//!
//! The file is replaced within a second of each change and at shutdown. If the file is damaged, it is
//! renamed for inspection, and all keys start valid.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower_key_failover::KeyPool;
use tower_key_failover::policy::{Reason, Scope};
use tower_key_failover::pool::{KeyState, SavedPool};
use tracing::{error, info, warn};

use crate::bad_input::BadInput;
use crate::gateway::Gateway;

const EVERY: Duration = Duration::from_secs(1);

/// What messages start with. They do not contain the path, because anything could be in its place.
const SOURCE: &str = "--state-file";

/// A task that keeps the file up to date.
pub struct StateFile {
    stop: oneshot::Sender<()>,
    writing: JoinHandle<()>,
}

impl StateFile {
    /// Restores the saved state and starts the task.
    ///
    /// The gateway must not serve requests yet, because they would use keys before their state is
    /// restored.
    pub fn start(path: PathBuf, gateway: Arc<Gateway>) -> Result<Self, BadInput> {
        let failed = |error: io::Error| BadInput(format!("{SOURCE}: {error}"));
        match fs::read(&path) {
            Ok(bytes) => restore(&path, &bytes, &gateway).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // Write the file now, so that errors show at start.
        let start = Instant::now();
        let written = Outline::of(&gateway, start);
        write(&path, &gateway).map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let writing = tokio::spawn(keep(path, gateway, start, written, stopped));
        Ok(Self { stop, writing })
    }

    /// Writes the file for the last time and stops the task.
    pub async fn finish(self) {
        drop(self.stop);
        let _ = self.writing.await;
    }
}

/// What the file contains: the pools by the name of their route.
#[derive(Deserialize, Serialize)]
struct Saved {
    pools: BTreeMap<String, SavedPool>,
}

fn restore(path: &Path, bytes: &[u8], gateway: &Gateway) -> io::Result<()> {
    match serde_json::from_slice::<Saved>(bytes) {
        Ok(saved) => {
            let pools = gateway.routes().pools();
            let of_pool = |pool: &Arc<KeyPool>| {
                let saved = saved.pools.get(pool.name());
                saved.map_or(0, |saved| pool.restore(saved))
            };
            let keys: usize = pools.iter().map(of_pool).sum();
            if keys > 0 {
                info!(target: "gateway", "{SOURCE}: restored the state of {keys} keys");
            }
        }
        Err(error) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let mut aside = path.as_os_str().to_owned();
            let suffix = format!(".damaged-{}", now.unwrap_or_default().as_millis());
            aside.push(&suffix);
            fs::rename(path, aside)?;
            // The text of the error could contain a part of the file.
            let (line, column) = (error.line(), error.column());
            warn!(
                target: "gateway",
                "{SOURCE}: ignored and renamed with the suffix {suffix}, because it is damaged at line \
                 {line}, column {column}"
            );
        }
    }
    Ok(())
}

async fn keep(
    path: PathBuf,
    gateway: Arc<Gateway>,
    start: Instant,
    mut written: Outline,
    stopped: oneshot::Receiver<()>,
) {
    let stopped = stopped.map(drop).shared();
    let mut is_failing = false;
    let mut is_over = false;
    while !is_over {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stopped.clone() => is_over = true,
        }
        let outline = Outline::of(&gateway, start);
        if outline == written {
            continue;
        }
        let (path_, gateway_) = (path.clone(), Arc::clone(&gateway));
        let result = tokio::task::spawn_blocking(move || write(&path_, &gateway_)).await;
        match result.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => (written, is_failing) = (outline, false),
            Err(error) => {
                if !is_failing {
                    error!(target: "gateway", "{SOURCE}: not written: {error}");
                }
                is_failing = true;
            }
        }
    }
}

/// Replaces the file with a new one that only its owner can read.
fn write(path: &Path, gateway: &Gateway) -> io::Result<()> {
    let pools = gateway.routes().pools();
    let saved = pools
        .iter()
        .map(|pool| (pool.name().to_owned(), pool.save()));
    let text = serde_json::to_vec(&Saved {
        pools: saved.collect(),
    })?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = match create(&new) {
        // A gateway that was killed left it behind.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&new)?;
            create(&new)?
        }
        file => file?,
    };
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(new, path)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The part of the state whose changes are saved: states and deadlines.
#[derive(PartialEq, Eq)]
struct Outline(Vec<OutlinedKey>);

#[derive(PartialEq, Eq)]
struct OutlinedKey {
    pool: Arc<str>,
    hint: Box<str>,
    group: Option<Arc<str>>,
    reason: Option<Reason>,
    state: OutlinedState,
    scopes: Vec<(Scope, Option<Reason>, OutlinedState)>,
}

#[derive(PartialEq, Eq)]
enum OutlinedState {
    Valid,
    /// In seconds since the task started, rounded.
    CoolingDown(u64),
    Permanent,
}

impl OutlinedState {
    fn of(state: KeyState, since: Duration) -> Self {
        match state {
            KeyState::Valid => Self::Valid,
            KeyState::Temporary { retry_after } => {
                Self::CoolingDown((since + retry_after).as_secs())
            }
            _ => Self::Permanent,
        }
    }
}

impl Outline {
    fn of(gateway: &Gateway, start: Instant) -> Self {
        let since = Instant::now().saturating_duration_since(start);
        let pools = gateway.routes().pools();
        let snapshots = pools.iter().map(|pool| pool.snapshot());
        let keys = snapshots.flat_map(|pool| {
            let name: Arc<str> = (*pool.name).into();
            let keys = pool.keys.into_iter();
            keys.map(move |key| OutlinedKey {
                pool: Arc::clone(&name),
                state: OutlinedState::of(key.state, since),
                scopes: key
                    .scopes
                    .into_iter()
                    .map(|it| (it.scope, it.reason, OutlinedState::of(it.state, since)))
                    .collect(),
                hint: key.hint,
                group: key.group,
                reason: key.reason,
            })
        });
        Self(keys.collect())
    }
}
