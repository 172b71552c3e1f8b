//! Clusters, in which one node serves the pool.

use std::time::Duration;

use crate::replica::{Replica, two_fast_replicas, until};
use crate::server;
use crate::server::{KEY, Server, version};

/// Three nodes, each of which serves a third of the slots.
struct Cluster {
    nodes: Vec<Server>,
}

fn node() -> Option<Server> {
    Server::start(&[&"--cluster-enabled", &"yes"])
}

fn add_slots(node: &Server, slots: std::ops::Range<u16>) {
    if version() >= (7, 0) {
        let last = (slots.end - 1).to_string();
        let range = ["CLUSTER", "ADDSLOTSRANGE", &slots.start.to_string(), &last];
        assert_eq!(node.run(&range), "OK");
        return;
    }
    let slots: Vec<_> = slots.map(|slot| slot.to_string()).collect();
    let slots = slots.iter().map(String::as_str);
    let command: Vec<_> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots).collect();
    assert_eq!(node.run(&command), "OK");
}

async fn is_up(node: &Server) {
    until(|| node.run(&["CLUSTER", "INFO"]).contains("cluster_state:ok")).await;
}

impl Cluster {
    /// `None` if there is no redis-server.
    async fn start() -> Option<Self> {
        let nodes: Vec<_> = std::iter::repeat_with(node)
            .take(3)
            .collect::<Option<_>>()?;
        for (at, node) in nodes.iter().enumerate() {
            let epoch = (at + 1).to_string();
            node.run(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            let at = at as u16;
            let end = if at == 2 { 16_384 } else { (at + 1) * 5_461 };
            add_slots(node, at * 5_461..end);
        }
        for node in &nodes[1..] {
            let port = node.addr().port().to_string();
            nodes[0].run(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        }
        for node in &nodes {
            is_up(node).await;
            until(|| {
                node.run(&["CLUSTER", "INFO"])
                    .contains("cluster_slots_ok:16384")
            })
            .await;
            until(|| node.run(&["CLUSTER", "NODES"]).lines().count() == 3).await;
        }
        Some(Self { nodes })
    }

    fn slot(&self) -> String {
        self.nodes[0].run(&["CLUSTER", "KEYSLOT", KEY])
    }

    /// The position of the node that serves the pool.
    fn owner(&self) -> usize {
        let slot: usize = self.slot().parse().unwrap();
        (slot / 5_461).min(2)
    }

    fn id(&self, at: usize) -> String {
        self.nodes[at].run(&["CLUSTER", "MYID"])
    }

    /// Begins to move the slot of the pool.
    fn begin_move(&self, from: usize, to: usize) {
        let (slot, old, new) = (self.slot(), self.id(from), self.id(to));
        let importing = ["CLUSTER", "SETSLOT", &slot, "IMPORTING", &old];
        assert_eq!(self.nodes[to].run(&importing), "OK");
        let migrating = ["CLUSTER", "SETSLOT", &slot, "MIGRATING", &new];
        assert_eq!(self.nodes[from].run(&migrating), "OK");
        let port = self.nodes[to].addr().port().to_string();
        let migrate = ["MIGRATE", "127.0.0.1", &port, KEY, "0", "5000"];
        assert_eq!(self.nodes[from].run(&migrate), "OK");
    }

    fn end_move(&self, to: usize) {
        let (slot, new) = (self.slot(), self.id(to));
        self.nodes[to].run(&["CLUSTER", "SETSLOT", &slot, "NODE", &new]);
        for node in &self.nodes {
            node.run(&["CLUSTER", "SETSLOT", &slot, "NODE", &new]);
        }
    }
}

#[tokio::test]
async fn a_single_node_of_a_cluster_serves_replicas() {
    let server = server!("--cluster-enabled", "yes");
    add_slots(&server, 0..16_384);
    is_up(&server).await;
    let (one, other) = two_fast_replicas(&server).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
}

#[tokio::test]
async fn replicas_find_the_node_that_serves_the_pool() {
    let Some(cluster) = Cluster::start().await else {
        println!("skipped: no redis-server");
        return;
    };
    let mut replicas = Vec::new();
    for node in &cluster.nodes {
        replicas.push(Replica::start(&node.url()).await);
        let older = format!("{}?protocol=resp2", node.url());
        replicas.push(Replica::start(&older).await);
    }
    for (at, replica) in replicas.iter().take(3).enumerate() {
        replica.cool_down(at, 30);
        for other in &replicas {
            other.cools_down(at, 30).await;
        }
    }
    for replica in &replicas {
        let status = replica.sharing.status();
        assert!(status.is_subscribed);
        assert_eq!((status.outages, status.rejected), (0, 0));
    }
}

#[tokio::test]
async fn replicas_follow_the_pool_to_another_node_while_it_moves() {
    let Some(cluster) = Cluster::start().await else {
        println!("skipped: no redis-server");
        return;
    };
    let (from, to) = (cluster.owner(), (cluster.owner() + 1) % 3);
    let one = Replica::start(&cluster.nodes[from].url()).await;
    let other = Replica::start(&cluster.nodes[(from + 2) % 3].url()).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;

    cluster.begin_move(from, to);
    one.cool_down(1, 30);
    other.cools_down(1, 30).await;
    other.cool_down(1, 60);
    one.cools_down(1, 60).await;
    let during = Replica::start(&cluster.nodes[from].url()).await;
    during.cools_down(0, 30).await;

    cluster.end_move(to);
    other.cool_down(2, 30);
    one.cools_down(2, 30).await;
    during.cools_down(2, 30).await;
    let new = Replica::start(&cluster.nodes[from].url()).await;
    new.cools_down(1, 60).await;
    for replica in [&one, &other, &during, &new] {
        let status = replica.sharing.status();
        assert_eq!((status.outages, status.rejected), (0, 0));
    }
}

#[tokio::test]
async fn a_pool_whose_move_is_cancelled_returns() {
    let Some(cluster) = Cluster::start().await else {
        println!("skipped: no redis-server");
        return;
    };
    let (from, to) = (cluster.owner(), (cluster.owner() + 1) % 3);
    let (one, other) = two_fast_replicas(&cluster.nodes[from]).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    cluster.begin_move(from, to);
    one.cool_down(1, 30);
    other.cools_down(1, 30).await;
    // The data is lost with the move.
    for node in [from, to] {
        cluster.nodes[node].run(&["CLUSTER", "SETSLOT", &cluster.slot(), "STABLE"]);
    }
    one.cool_down(2, 30);
    other.cools_down(2, 30).await;
    let new = Replica::fast(&cluster.nodes[to].url()).await;
    new.cools_down(0, 30).await;
    new.cools_down(1, 30).await;
}

#[tokio::test]
async fn the_loss_of_the_node_in_the_url_ends_no_exchange() {
    let Some(mut cluster) = Cluster::start().await else {
        println!("skipped: no redis-server");
        return;
    };
    let (owner, dead) = (cluster.owner(), (cluster.owner() + 1) % 3);
    let one = Replica::fast(&cluster.nodes[dead].url()).await;
    let other = Replica::fast(&cluster.nodes[owner].url()).await;
    cluster.nodes[dead].kill();
    // The replica tries the node of its URL, and then the one that it knows.
    cluster.nodes[owner].run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    cluster.nodes[owner].run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until(|| one.sharing.status().outages > 0).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    other.cool_down(1, 30);
    one.cools_down(1, 30).await;
}
