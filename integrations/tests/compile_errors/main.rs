//! What the compiler says about stacks that do not compile.
//!
//! Each file in `cases` is a program with one mistake. Its first comment contains texts that the
//! compiler's message must contain. The messages of compilers differ, so the texts are short, and paths
//! such as `http_body_util::` are removed from the messages first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::Value;

const GUIDE: &str = include_str!("../../../src/docs/compile_errors.md");

const DEPENDENCIES: &str = r#"
bytes = "1"
http = "1"
http-body-util = "0.1"
hyper-util = { version = "0.1", features = ["client-legacy", "tokio"] }
reqwest = { version = "0.13", default-features = false }
tonic = { version = "0.14", default-features = false, features = ["channel"] }
tower = { version = "0.5", features = ["limit", "retry", "util"] }
tower-http = { version = "0.7", features = ["timeout"] }
"#;

#[test]
fn each_mistake_is_rejected_with_a_message_that_names_it() {
    let cases = cases();
    let messages = compile(&cases);
    for (name, expected) in &cases {
        let message = messages.get(name).unwrap_or_else(|| {
            panic!("{name} compiles, or the compiler says nothing about it");
        });
        for text in expected {
            assert!(message.contains(text), "{name}: {text}\n\n{message}");
        }
    }
}

#[test]
fn the_guide_explains_each_message() {
    for (name, expected) in cases() {
        let explained = expected.iter().any(|text| GUIDE.contains(text));
        assert!(explained, "{name}: the guide quotes none of {expected:?}");
    }
}

/// The texts that each case expects.
fn cases() -> BTreeMap<String, Vec<String>> {
    let files = fs::read_dir(folder()).unwrap();
    let cases = files.map(|file| {
        let path = file.unwrap().path();
        let source = fs::read_to_string(&path).unwrap();
        let expected = source.lines().filter_map(|line| {
            let text = line.strip_prefix("//! Expected: ")?;
            Some(text.to_owned())
        });
        let expected: Vec<_> = expected.collect();
        assert!(!expected.is_empty(), "{}", path.display());
        let name = path.file_stem().unwrap().to_str().unwrap();
        (name.to_owned(), expected)
    });
    cases.collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_errors/cases")
}

/// Compiles the cases, and returns the error messages of each. The dependencies have the versions of the
/// workspace.
fn compile(cases: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_errors");
    fs::create_dir_all(&copy).unwrap();
    fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock")).unwrap();
    let mut manifest = format!(
        "[package]\nname = \"cases\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]{DEPENDENCIES}\
         tower-key-failover = {{ path = {root:?} }}\n",
    );
    for name in cases.keys() {
        let path = folder().join(name).with_extension("rs");
        manifest += &format!("\n[[bin]]\nname = {name:?}\npath = {path:?}\n");
    }
    fs::write(copy.join("Cargo.toml"), manifest).unwrap();

    let output = Command::new(env::var("CARGO").unwrap())
        .args(["check", "--quiet", "--offline", "--keep-going"])
        .args(["--message-format=json", "--target-dir", "target"])
        .current_dir(&copy)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let mut messages = BTreeMap::<String, String>::new();
    for line in output.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["message"]["level"] == "error" {
            let name = line["target"]["name"].as_str().unwrap();
            let message = without_paths(line["message"]["rendered"].as_str().unwrap());
            *messages.entry(name.to_owned()).or_default() += &message;
        }
    }
    messages
}

/// Removes `http_body_util::` and the like.
fn without_paths(message: &str) -> String {
    let is_part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut parts = message.split("::").peekable();
    let mut text = String::new();
    while let Some(part) = parts.next() {
        let is_path = parts
            .peek()
            .is_some_and(|next| next.starts_with(is_part_of_name));
        text += match is_path {
            true => part.trim_end_matches(is_part_of_name),
            false => part,
        };
        // Such as the one in `check::<Body>`.
        if !is_path && parts.peek().is_some() {
            text += "::";
        }
    }
    text
}
