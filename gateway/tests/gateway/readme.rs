//! The README describes what exists, and its examples are valid.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{Directory, bare, configured, write_private};

fn readme() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(file).unwrap()
}

async fn help() -> String {
    let output = bare().args(["--help"]).output().await;
    String::from_utf8(output.stdout).unwrap()
}

/// The code block that contains this text.
fn example(text: &str) -> String {
    let readme = readme();
    let blocks = readme.split("```").skip(1).step_by(2);
    let block = blocks
        .into_iter()
        .find(|block| block.contains(text))
        .unwrap();
    let (_, code) = block.split_once('\n').unwrap();
    code.to_owned()
}

fn flags(text: &str) -> BTreeSet<&str> {
    let is_part = |character: char| character.is_ascii_lowercase() || character == '-';
    let words = text.split(|character| !is_part(character));
    words
        .filter(|word| word.starts_with("--") && word.trim_start_matches('-').len() > 1)
        .collect()
}

#[tokio::test]
async fn the_readme_and_the_help_describe_the_same_flags() {
    let (help, readme) = (help().await, readme());
    let in_help = flags(&help);
    let in_readme = flags(&readme);

    // `cargo install --path` is an example. Every command has `--help` and `--version`.
    let others = BTreeSet::from(["--help", "--path", "--version"]);
    let missing: Vec<_> = in_help.difference(&in_readme).collect();
    let missing = missing.into_iter().filter(|flag| !others.contains(*flag));
    assert_eq!(missing.collect::<Vec<_>>(), [] as [&&str; 0]);
    let unknown = in_readme.difference(&in_help);
    let unknown = unknown.filter(|flag| !others.contains(*flag));
    assert_eq!(unknown.collect::<Vec<_>>(), [] as [&&str; 0]);
}

#[tokio::test]
async fn the_readme_and_the_help_describe_the_same_variables_and_endpoints() {
    let (help, readme) = (help().await, readme());
    for variable in [
        "GATEWAY_KEYS",
        "GATEWAY_CLIENT_TOKEN",
        "GATEWAY_ADMIN_TOKEN",
        "GATEWAY_REDIS_SECRET",
        "SSL_CERT_FILE",
    ] {
        assert!(
            help.contains(variable) && readme.contains(variable),
            "{variable}"
        );
    }
    let endpoints = |text: &str| -> BTreeSet<String> {
        let lines = text.replace(['`', '|'], " ");
        let lines = lines.lines().map(str::split_whitespace);
        let endpoint = lines.filter_map(|mut words| {
            let method = words.next().filter(|word| ["GET", "POST"].contains(word))?;
            Some(format!("{method} {}", words.next()?))
        });
        endpoint.collect()
    };
    assert!(endpoints(&help).len() > 5, "{help}");
    assert_eq!(endpoints(&help), endpoints(&readme));
}

#[tokio::test]
async fn the_configuration_and_the_keys_file_of_the_readme_are_valid() {
    let directory = Directory::new();
    write_private(
        &directory.path("openai.keys"),
        &example("# a key without a label"),
    );
    let file = directory.path("gateway.toml");
    write_private(&file, &example("[routes.openai]"));

    let start = configured(&file).env("ANTHROPIC_KEYS", "key-1,key-2");
    let output = start.args(["--check"]).output().await;

    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("routes: 2, keys: 7"), "{shown}");
}

#[tokio::test]
async fn the_first_command_of_the_readme_is_valid() {
    let command = example("cargo install key-failover-gateway");
    let (_, command) = command.split_once("GATEWAY_KEYS=").unwrap();
    let (keys, command) = command.split_once(' ').unwrap();
    let (_, arguments) = command.split_once("key-failover-gateway ").unwrap();
    let arguments = arguments.lines().next().unwrap().split(' ');

    let start = arguments.fold(bare().keys([keys]), |start, argument| {
        start.args([argument])
    });
    let output = start.token().args(["--check"]).output().await;

    assert!(output.status.success(), "{output:?}");
}

#[cfg(all(feature = "metrics", feature = "redis"))]
#[tokio::test]
async fn the_readme_describes_the_metrics_of_the_gateway() {
    let metrics = crate::deploy::metrics().await;
    let described = metrics.lines().filter_map(|line| {
        let name = line.strip_prefix("# TYPE ")?.split(' ').next()?;
        name.starts_with("gateway_").then_some(name)
    });
    let described: Vec<_> = described.collect();

    let readme = readme();
    assert_eq!(described.len(), 7, "{metrics}");
    for name in described {
        assert!(readme.contains(&format!("| `{name}` |")), "{name}");
    }
}
