//! The routes, and how a reload replaces them.
//!
//! Requests in flight keep the route that they started with. A route with the same name and the same
//! settings of its pool keeps its pool, so its keys keep their state.

use std::sync::Arc;

use axum::http::request;
use tower_key_failover::KeyPool;
use tower_key_failover::pool::KeyChanges;

use crate::config::RouteConfig;
use crate::route::{Route, Shared};

/// The routes, in the order in which they are matched.
#[derive(Default)]
pub struct Routes(Vec<Arc<Route>>);

/// What a reload changes.
#[derive(Default)]
pub struct Changes {
    /// The routes whose keys were replaced.
    pub keys: Vec<(String, KeyChanges)>,
    pub added: Vec<String>,
    pub removed: Vec<String>,
}

impl Routes {
    pub fn new(configs: Vec<RouteConfig>, shared: &Shared) -> Self {
        Self::default().replaced(configs, shared).0
    }

    /// The route of a request: one with its host before others, and then the one with the longest
    /// prefix. The path must be normalized.
    pub fn find(&self, head: &request::Parts) -> Option<&Arc<Route>> {
        let mut routes = self.0.iter();
        routes.find(|route| route.matcher.matches(&head.uri, &head.headers))
    }

    /// The routes that replace these. The configuration is valid, so nothing can fail.
    pub fn replaced(&self, configs: Vec<RouteConfig>, shared: &Shared) -> (Self, Changes) {
        let mut changes = Changes::default();
        let mut routes = Vec::new();
        for mut config in configs {
            let before = self.named(&config.name);
            let new = config.pool.take();
            let kept = before.filter(|route| route.pool_settings == config.pool_settings);
            let kept = kept.and_then(|route| route.pool.as_ref());
            let pool = match (new, kept) {
                (None, _) => None,
                (Some((keys, _)), Some(pool)) => {
                    // It cannot fail, because a pool of the same keys was built.
                    if let Ok(replaced) = pool.replace_keys(keys) {
                        changes.keys.push((config.name.clone(), replaced));
                    }
                    Some(Arc::clone(pool))
                }
                (Some((_, pool)), None) => {
                    if let Some(before) = before.and_then(|route| route.pool.as_ref()) {
                        carry_over(before, &pool);
                    }
                    Some(Arc::new(pool))
                }
            };
            if before.is_none() {
                changes.added.push(config.name.clone());
            }
            routes.push(Arc::new(Route::new(config, pool, shared)));
        }
        routes.sort_by_key(|route| std::cmp::Reverse(route.matcher.precedence()));
        let routes = Self(routes);
        let names = self.0.iter().map(|route| &route.name);
        let removed = names.filter(|name| routes.named(name).is_none());
        changes.removed = removed.cloned().collect();
        (routes, changes)
    }

    fn named(&self, name: &str) -> Option<&Arc<Route>> {
        self.0.iter().find(|route| route.name == name)
    }

    /// In the order of their names.
    pub fn by_name(&self) -> Vec<Arc<Route>> {
        let mut routes = self.0.clone();
        routes.sort_by(|a, b| a.name.cmp(&b.name));
        routes
    }

    /// The pools, in the order of the names of their routes.
    pub fn pools(&self) -> Vec<Arc<KeyPool>> {
        let routes = self.by_name().into_iter();
        routes.filter_map(|route| route.pool.clone()).collect()
    }

    /// The provider of the only route.
    pub fn only_provider(&self) -> Option<&'static str> {
        match self.0.as_slice() {
            [route] => Some(route.provider()),
            _ => None,
        }
    }
}

/// The keys of a pool with other settings keep their state.
fn carry_over(before: &KeyPool, pool: &KeyPool) {
    #[cfg(feature = "serde")]
    pool.restore(&before.save());
    #[cfg(not(feature = "serde"))]
    let _ = (before, pool);
}
