//! The connections of a runtime that further requests can use.

use std::cell::RefCell;
use std::time::Duration;

use axum::http::Uri;
use tokio::time::sleep;

use super::connect::{Connection, Versions};

/// How often connections are swept.
const SWEEP: Duration = Duration::from_secs(15);

/// A connection without a request is closed after this number of sweeps.
const MAX_SWEEPS: u32 = 6;

/// The connections of a runtime.
struct Pool {
    origins: Vec<Origin>,
    sweeps: u32,
}

/// Where connections lead to.
struct Origin {
    versions: Versions,
    /// Its path does not count.
    target: Uri,
    /// The one that was used last is at the end.
    connections: Vec<Kept>,
}

struct Kept {
    connection: Connection,
    /// The number of sweeps before its last request.
    since: u32,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::new(Pool::new());
}

/// A connection to the host of a request, if there is one.
pub fn take(versions: Versions, target: &Uri) -> Option<Connection> {
    POOL.with_borrow_mut(|pool| pool.take(versions, target))
}

/// Keeps a connection when its response has been read. Lets others use it at once if it can serve
/// several requests.
pub fn keep(versions: Versions, target: &Uri, connection: Connection) {
    match connection {
        Connection::Http1(mut sender) if !sender.is_ready() => {
            let target = target.clone();
            tokio::spawn(async move {
                if sender.ready().await.is_ok() {
                    put(versions, &target, Connection::Http1(sender));
                }
            });
        }
        connection => put(versions, target, connection),
    }
}

fn put(versions: Versions, target: &Uri, connection: Connection) {
    POOL.with_borrow_mut(|pool| pool.put(versions, target, connection));
}

impl Pool {
    /// Sweeps as long as the runtime runs.
    fn new() -> Self {
        tokio::spawn(async {
            loop {
                sleep(SWEEP).await;
                POOL.with_borrow_mut(Pool::sweep);
            }
        });
        Self {
            origins: Vec::new(),
            sweeps: 0,
        }
    }

    fn of(&mut self, versions: Versions, target: &Uri) -> Option<&mut Origin> {
        let mut origins = self.origins.iter_mut();
        origins.find(|origin| {
            origin.versions == versions
                && origin.target.authority() == target.authority()
                && origin.target.scheme() == target.scheme()
        })
    }

    fn take(&mut self, versions: Versions, target: &Uri) -> Option<Connection> {
        let sweeps = self.sweeps;
        let connections = &mut self.of(versions, target)?.connections;
        while let Some(mut kept) = connections.pop() {
            if kept.connection.is_ready() {
                let shared = kept.connection.shared();
                if let Some(shared) = shared {
                    kept.since = sweeps;
                    connections.push(kept);
                    return Some(shared);
                }
                return Some(kept.connection);
            }
        }
        None
    }

    fn put(&mut self, versions: Versions, target: &Uri, connection: Connection) {
        let kept = Kept {
            connection,
            since: self.sweeps,
        };
        match self.of(versions, target) {
            Some(origin) => origin.connections.push(kept),
            None => self.origins.push(Origin {
                versions,
                target: target.clone(),
                connections: vec![kept],
            }),
        }
    }

    /// Closes the connections that have been without a request for too long, or that are closed.
    fn sweep(&mut self) {
        self.sweeps += 1;
        let oldest = self.sweeps.saturating_sub(MAX_SWEEPS);
        for origin in &mut self.origins {
            let is_kept = |it: &Kept| it.since >= oldest && it.connection.is_ready();
            origin.connections.retain(is_kept);
        }
        self.origins.retain(|origin| !origin.connections.is_empty());
    }
}
