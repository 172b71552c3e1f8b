//! Two replicas of the gateway, their upstream, and the server over which they share limits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower_key_failover::BoxError;

use crate::admin::ADMIN_TOKEN;
use crate::connections::Protocol;
use crate::disturbance::Disturbance;
use crate::files::Files;
use crate::keys::{Keys, REPLICAS, SCOPES};
use crate::ledger::Ledger;
use crate::operator::Operator;
use crate::random::Random;
use crate::replica::Replica;
use crate::server::Server;
use crate::traffic::Traffic;
use crate::upstream::{TOKEN, Upstream};

/// Over each protocol.
const CLIENTS: usize = 6;

pub struct Lane {
    pub upstream: Arc<Upstream>,
    pub replicas: Arc<[Replica]>,
    pub traffic: Traffic,
    pub ledger: Arc<Ledger>,
    files: Arc<Files>,
    server: Arc<Mutex<Server>>,
    acting: Arc<Mutex<()>>,
    /// With which the replicas hide names from the server.
    secret: String,
    /// The replica that restarts.
    unlucky: usize,
}

impl Lane {
    pub async fn start(
        name: &'static str,
        protocol: Protocol,
        seed: u64,
        time: Duration,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, BoxError> {
        let keys = Keys::new(name, seed, time);
        let upstream = Upstream::new(name, protocol, keys, seed, Arc::clone(ledger));
        let upstream = Arc::new(upstream);
        let address = upstream.listen().await?;
        let server = Server::start().await?;
        let files = Arc::new(Files::new(&upstream, &address, &server.url())?);
        let mut random = Random::of([seed, name.len() as u64, protocol as u64]);
        let secret = format!("secret-of-the-replicas-{:016x}", random.next());
        let mut replicas = Vec::new();
        for number in 0..REPLICAS {
            let replica = Replica::start(number, &upstream, &files, &secret, time / 2);
            replicas.push(replica.await?);
        }
        let replicas: Arc<[Replica]> = replicas.into();
        let traffic = Traffic {
            seed,
            ledger: Arc::clone(ledger),
            replicas: Arc::clone(&replicas),
        };
        Ok(Self {
            upstream,
            replicas,
            traffic,
            ledger: Arc::clone(ledger),
            files,
            server: Arc::new(Mutex::new(server)),
            acting: Arc::default(),
            secret,
            unlucky: random.within(0..REPLICAS as u64) as usize,
        })
    }

    /// Starts clients and disturbances, and operators if there are any.
    pub fn spawn(
        &self,
        tasks: &mut JoinSet<()>,
        start: Instant,
        time: Duration,
        has_operators: bool,
    ) {
        if has_operators {
            tasks.spawn(self.operator().run(start + time));
        }
        let disturbance = Disturbance {
            name: self.upstream.name,
            replicas: Arc::clone(&self.replicas),
            operator: self.operator(),
            server: Arc::clone(&self.server),
            ledger: Arc::clone(&self.ledger),
            unlucky: self.unlucky,
        };
        tasks.spawn(disturbance.run(start, time));
        for protocol in [Protocol::Http1, Protocol::Http2] {
            for _ in 0..CLIENTS {
                tasks.spawn(self.traffic.clone().run(protocol, start + time));
            }
        }
    }

    pub fn operator(&self) -> Operator {
        Operator {
            upstream: Arc::clone(&self.upstream),
            files: Arc::clone(&self.files),
            replicas: Arc::clone(&self.replicas),
            ledger: Arc::clone(&self.ledger),
            acting: Arc::clone(&self.acting),
        }
    }

    pub async fn look(&self) -> Result<(), BoxError> {
        for replica in &*self.replicas {
            replica.look()?;
            replica.look_at_keys(false, &self.ledger).await?;
        }
        Ok(())
    }

    pub fn violation(&self, what: &str) {
        let name = self.upstream.name;
        self.ledger.violation(format!("{name}: {what}"));
    }

    pub async fn end(self) -> Result<(), BoxError> {
        self.upstream.close();
        for replica in &*self.replicas {
            replica.end(&self.ledger).await?;
        }
        let most = self.upstream.keys.most_in_flight();
        let above = self.upstream.keys.longest_above();
        println!(
            "at most {most} requests of a replica with one key at the same time, for {above:?} more than its cap"
        );
        for wrong in self.server.lock().await.search(&self.secrets())? {
            self.violation(&wrong);
        }
        Ok(())
    }

    /// What the server that the replicas share must not see.
    fn secrets(&self) -> Vec<String> {
        let keys = self.upstream.keys.all.iter();
        let parts = keys.flat_map(|key| {
            let random = key.secret.split('-').nth(2).unwrap_or_default();
            [key.hint(), random.to_owned()]
        });
        let others = ["soak-", "own-0", TOKEN, ADMIN_TOKEN, &self.secret];
        let others = others.into_iter().chain(SCOPES).map(str::to_owned);
        parts.chain(others).collect()
    }
}
