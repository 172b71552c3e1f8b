//! Logs to stderr, with `--log`.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use clap::ValueEnum;
use serde::Deserialize;
use tower_key_failover::KeyPool;
use tracing::{Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Text,
    Json,
    Off,
}

/// Starts to log in this format.
pub fn start(format: Format) {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = match format {
        Format::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        Format::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
        Format::Off => return,
    };
    let layer = layer.with_filter(filter_fn(is_logged));
    // Nobody else sets a subscriber.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

/// Other crates log headers, and so keys.
fn is_logged(metadata: &Metadata<'_>) -> bool {
    let is_ours = matches!(
        metadata.target(),
        "gateway" | "tower_key_failover" | "tower_key_failover_redis"
    );
    // The gateway reports a reload in more detail than the library.
    let is_reload = metadata.fields().field("added").is_some();
    is_ours && *metadata.level() <= Level::INFO && !is_reload
}

/// The keys of a pool by label and hint.
pub fn names(pool: Option<&KeyPool>) -> String {
    let mut names = String::new();
    for key in pool.into_iter().flat_map(|pool| pool.snapshot().keys) {
        let separator = if names.is_empty() { "" } else { ", " };
        let _ = match &key.label {
            // A label must not send escape sequences to the terminal.
            Some(label) => write!(names, "{separator}{} ({})", label.escape_debug(), key.hint),
            None => write!(names, "{separator}{}", key.hint),
        };
    }
    names
}
