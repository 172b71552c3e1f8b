//! The configuration file.

mod errors;
mod keys;
mod operators;
mod reload;
mod routes;

use std::path::PathBuf;

use crate::support::{Directory, write_private};

/// A configuration file in a directory of its own.
pub struct ConfigFile {
    pub directory: Directory,
    pub path: PathBuf,
}

impl ConfigFile {
    /// Listens on a free port, and has an admin listener.
    pub fn new(routes: &str) -> Self {
        let directory = Directory::new();
        let path = directory.path("gateway.toml");
        let file = Self { directory, path };
        file.replace(routes);
        file
    }

    pub fn replace(&self, routes: &str) {
        self.write(&format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{routes}"
        ));
    }

    /// Replaces the file with a new one.
    pub fn write(&self, text: &str) {
        let new = self.path.with_extension("new");
        write_private(&new, text);
        std::fs::rename(new, &self.path).unwrap();
    }
}

/// A route with one key.
pub fn route(name: &str, fields: &str, upstream: &str, key: &str) -> String {
    format!(
        "\n[routes.{name}]\nprovider = \"openai\"\nupstream = \"{upstream}\"\nkeys = [\"{key}\"]\n{fields}\n"
    )
}
