//! A replica of the gateway, whose process can be replaced.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::time::Instant;
use tower_key_failover::BoxError;

use crate::admin::{ADMIN_TOKEN, Admin};
use crate::figures::Course;
use crate::files::Files;
use crate::gateway::Gateway;
use crate::ledger::Ledger;
use crate::states::Shown;
use crate::upstream::{TOKEN, Upstream};
use crate::waiting::until_well;

pub struct Replica {
    pub number: usize,
    name: String,
    upstream: Arc<Upstream>,
    files: Arc<Files>,
    secret: String,
    /// How long the memory of a process may grow.
    warming: Duration,
    /// Locked during a restart.
    process: RwLock<Option<Gateway>>,
    /// `None` while no client should use it.
    url: Mutex<Option<String>>,
    course: Mutex<Course>,
}

impl Replica {
    pub async fn start(
        number: usize,
        upstream: &Arc<Upstream>,
        files: &Arc<Files>,
        secret: &str,
        warming: Duration,
    ) -> Result<Self, BoxError> {
        let process = Gateway::start(files, secret).await?;
        is_shared(&process.admin, "connected").await?;
        let course = Course::from(process.settled().await?, warming);
        Ok(Self {
            number,
            name: format!("{} replica {number}", upstream.name),
            upstream: Arc::clone(upstream),
            files: Arc::clone(files),
            secret: secret.to_owned(),
            warming,
            url: Mutex::new(Some(process.url.clone())),
            process: RwLock::new(Some(process)),
            course: Mutex::new(course),
        })
    }

    /// The address for clients, unless the replica is being replaced.
    pub fn url(&self) -> Option<String> {
        lock(&self.url).clone()
    }

    /// Waits for the end of a restart.
    pub async fn admin(&self) -> Result<Admin, BoxError> {
        let process = self.process.read().await;
        let process = process.as_ref().ok_or("the replica does not run")?;
        Ok(process.admin.clone())
    }

    /// Waits until all pools have this state.
    pub async fn is_shared(&self, state: &str) -> Result<(), BoxError> {
        let admin = self.admin().await?;
        is_shared(&admin, state).await
    }

    /// Stops the process while clients use it, and starts another one.
    pub async fn restart(&self, ledger: &Ledger) -> Result<(), BoxError> {
        let mut process = self.process.write().await;
        let old = process.take().ok_or("the replica does not run")?;
        let keys = old.admin.keys().await?;
        let counts = keys.iter().filter_map(|key| key["in_flight"].as_u64());
        let in_flight: u64 = counts.sum();
        println!("{} restarts with {in_flight} requests in flight", self.name);
        old.stop().await?;
        lock(&self.url).take();
        self.check_errors(&old.ended().await?, ledger);
        self.upstream.keys.forgotten_by(self.number);
        let new = process.insert(Gateway::start(&self.files, &self.secret).await?);
        let start = lock(&self.course).start;
        *lock(&self.course) = Course::from(start, self.warming);
        lock(&self.url).replace(new.url.clone());
        Ok(())
    }

    /// Looks at the resources, unless the replica is being replaced.
    pub fn look(&self) -> Result<(), BoxError> {
        if let Ok(process) = self.process.try_read()
            && let Some(process) = &*process
        {
            lock(&self.course).add(process.figures()?);
        }
        Ok(())
    }

    /// Looks at the keys, unless the replica is being replaced.
    pub async fn look_at_keys(&self, at_the_end: bool, ledger: &Ledger) -> Result<(), BoxError> {
        let Ok(process) = self.process.try_read() else {
            return Ok(());
        };
        let process = process.as_ref().ok_or("the replica does not run")?;
        let asked = Instant::now();
        let keys = process.admin.keys().await?;
        let shown = Shown {
            replica: self.number,
            keys: &keys,
            asked,
        };
        for wrong in shown.unexplained(&self.upstream.keys, at_the_end) {
            ledger.violation(format!("{}: {wrong}", self.name));
        }
        Ok(())
    }

    /// Stops the process, and checks what is left of the requests.
    pub async fn end(&self, ledger: &Ledger) -> Result<(), BoxError> {
        let process = self.process.write().await.take();
        let process = process.ok_or("the replica does not run")?;
        let start = lock(&self.course).start;
        let end = process.come_down(start).await?;
        let keys = process.admin.keys().await?;
        let shown = Shown {
            replica: self.number,
            keys: &keys,
            asked: Instant::now(),
        };
        for wrong in shown.in_flight(&self.upstream.keys) {
            ledger.violation(format!("{}: {wrong}", self.name));
        }
        lock(&self.course).finish(&self.name, end, ledger);
        process.stop().await?;
        self.check_errors(&process.ended().await?, ledger);
        Ok(())
    }

    fn check_errors(&self, errors: &str, ledger: &Ledger) {
        let forbidden = ["panicked", "soak-h", "own-0", TOKEN, ADMIN_TOKEN];
        for forbidden in forbidden.into_iter().chain([&*self.secret]) {
            if errors.contains(forbidden) {
                ledger.violation(format!("{}: stderr holds {forbidden:?}", self.name));
            }
        }
    }
}

async fn is_shared(admin: &Admin, state: &str) -> Result<(), BoxError> {
    let wrong = until_well(15, || async {
        let mut states = admin.sharing().await?;
        let is_shown = !states.is_empty();
        states.retain(|there| there != state);
        Ok(if is_shown {
            states
        } else {
            vec!["not shared".into()]
        })
    });
    match wrong.await?.as_slice() {
        [] => Ok(()),
        wrong => Err(format!("pools are not {state}: {wrong:?}").into()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
