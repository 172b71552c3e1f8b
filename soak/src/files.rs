//! The configuration file and the keys files of the replicas of a lane.

use std::path::PathBuf;

use tower_key_failover::BoxError;

use crate::connections::Address;
use crate::keys::ROUTES;
use crate::upstream::Upstream;

/// Removes the files when it is dropped.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    /// The certificate of the upstream.
    pub certificate: Option<PathBuf>,
}

impl Files {
    pub fn new(upstream: &Upstream, address: &Address, redis: &str) -> Result<Self, BoxError> {
        let name = format!("soak-{}-{}", std::process::id(), upstream.name);
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)?;
        let certificate = address.certificate.as_ref();
        let files = Self {
            certificate: certificate.map(|_| folder.join("trusted")),
            folder,
        };
        if let (Some(text), Some(file)) = (certificate, &files.certificate) {
            std::fs::write(file, text)?;
        }
        for route in ROUTES {
            files.write_keys(route, &upstream.keys.file(route, None))?;
        }
        let text = configuration(upstream.name, &address.url, redis);
        std::fs::write(files.configuration(), text)?;
        Ok(files)
    }

    pub fn configuration(&self) -> PathBuf {
        self.folder.join("gateway.toml")
    }

    /// Replaces the keys file of a route.
    pub fn write_keys(&self, route: &str, text: &str) -> Result<(), BoxError> {
        let file = self.folder.join(route);
        let new = file.with_extension("new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, file)?)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Each route has a prefix and a base path of its own, by which the upstream recognizes it. The routes of both
/// lanes together have all strategies.
fn configuration(name: &str, upstream: &str, redis: &str) -> String {
    let strategies = match name {
        "h1" => ["in-order", "round-robin"],
        _ => ["least-in-flight", "weighted"],
    };
    let whole = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nreplay_budget = 8000000\n\
         redis = \"{redis}\"\n"
    );
    let routes = ROUTES.into_iter().zip(strategies).map(|(route, strategy)| {
        format!(
            "[routes.{route}]\nprefix = \"/{route}\"\nprovider = \"openai\"\n\
             upstream = \"{upstream}/at-{route}\"\nkeys_file = \"{route}\"\n\
             max_replay_bytes = 1000000\ncooldown = \"60s\"\n\
             selection = \"{strategy}\"\naffinity = \"header:x-soak-session\"\n"
        )
    });
    let scope = "scope = \"header:x-soak-scope\"\n".to_owned();
    [whole].into_iter().chain(routes).chain([scope]).collect()
}
