//! The files in `deploy/` are valid, and mention only what exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::{Directory, bare, configured, write_private};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn yaml(name: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All files, with their names.
fn files() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| (name.clone(), read(&name))).collect()
}

/// The words of a text that start like this, and consist of such characters.
fn words(text: &str, start: &str, is_part: fn(char) -> bool) -> BTreeSet<String> {
    let words = text.split(|character: char| !is_part(character));
    let words = words.filter(|word| word.starts_with(start) && word.len() > start.len());
    words.map(str::to_owned).collect()
}

#[tokio::test]
async fn flags_and_variables_in_deployment_files_exist() {
    let help = bare().args(["--help"]).output().await.stdout;
    let help = String::from_utf8(help).unwrap();
    // Of cargo, podman, systemctl, useradd and the Containerfile.
    let of_others = [
        "--from",
        "--locked",
        "--no-create-home",
        "--now",
        "--package",
        "--read-only",
        "--release",
        "--shell",
        "--system",
    ];

    let mut found = 0;
    for (name, text) in files() {
        let is_flag = |character: char| character.is_ascii_lowercase() || character == '-';
        for flag in words(&text, "--", is_flag) {
            let is_separator = flag.bytes().all(|byte| byte == b'-');
            if is_separator || of_others.contains(&&*flag) {
                continue;
            }
            let exists = help.split_whitespace().any(|word| word == flag);
            assert!(exists, "{name}: {flag}");
            found += 1;
        }
        let is_variable = |character: char| character.is_ascii_uppercase() || character == '_';
        for variable in words(&text, "GATEWAY_", is_variable) {
            assert!(help.contains(&variable), "{name}: {variable}");
            found += 1;
        }
    }
    assert!(found > 10, "{found}");
}

#[tokio::test]
async fn the_kubernetes_manifest_is_valid_and_its_configuration_too() {
    let documents = yaml("kubernetes.yaml");
    let kinds: Vec<_> = documents
        .iter()
        .map(|it| it["kind"].as_str().unwrap())
        .collect();
    let expected = [
        "Secret",
        "ConfigMap",
        "Deployment",
        "Service",
        "NetworkPolicy",
    ];
    assert_eq!(kinds, expected);
    let container = &documents[2]["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"].as_vec().unwrap().iter();
    let arguments: Vec<_> = arguments.map(|it| it.as_str().unwrap()).collect();
    let mounts = container["volumeMounts"].as_vec().unwrap().iter();
    let mounts: Vec<_> = mounts.map(|it| it["mountPath"].as_str().unwrap()).collect();
    assert_eq!(arguments[0], "--config");
    assert!(arguments[1].starts_with(mounts[0]), "{arguments:?}");

    let config = documents[1]["data"]["gateway.toml"].as_str().unwrap();
    let keys = documents[0]["stringData"]["anthropic.keys"]
        .as_str()
        .unwrap();
    let directory = Directory::new();
    write_private(&directory.path("anthropic.keys"), keys);
    let keys_file = format!("{}/anthropic.keys", mounts[1]);
    assert!(config.contains(&keys_file), "{config}");
    let file = directory.path("gateway.toml");
    write_private(&file, &config.replace(&keys_file, "anthropic.keys"));
    let output = configured(&file).token().args(["--check"]).output().await;
    assert!(output.status.success(), "{output:?}");
    for (port, setting) in [(0, "listen"), (1, "admin")] {
        let port = container["ports"][port]["containerPort"].as_i64().unwrap();
        assert!(
            config.contains(&format!("{setting} = \"0.0.0.0:{port}\"")),
            "{config}"
        );
    }
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn paths_in_the_kubernetes_manifest_exist() {
    use crate::support::{GOOD, gateway, get, send};

    let text = read("kubernetes.yaml");
    let gateway = gateway("openai", "http://127.0.0.1:9").keys([GOOD]).admin();
    let gateway = gateway.listen().await;

    let paths = text.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("path: /")
            .or(line.strip_prefix("prometheus.io/path: /"))
    });
    let paths: BTreeSet<&str> = paths.collect();

    assert_eq!(paths, BTreeSet::from(["about", "metrics"]));
    for path in paths {
        let response = send(get(&gateway.admin_url(&format!("/{path}")))).await;
        assert_eq!(response.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_example_configuration_is_valid() {
    let directory = Directory::new();
    write_private(&directory.path("anthropic.keys"), "a-key\n");
    let file = directory.path("gateway.toml");
    write_private(&file, &read("gateway.toml"));

    let output = configured(&file).args(["--check"]).output().await;

    assert!(
        output.status.success() || !cfg!(feature = "serde"),
        "{output:?}"
    );
}

#[tokio::test]
async fn the_systemd_unit_is_valid() {
    let text = read("key-failover-gateway.service");
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let is_section = line.starts_with('[') && line.ends_with(']');
        assert!(
            is_section
                || line
                    .split_once('=')
                    .is_some_and(|(name, _)| !name.contains(' '))
        );
    }
    // Only some machines have it.
    let tool = "systemd-analyze";
    if std::process::Command::new(tool)
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: {tool} is not installed");
        return;
    }
    let directory = Directory::new();
    let unit = directory.path("key-failover-gateway.service");
    let binary = env!("CARGO_BIN_EXE_key-failover-gateway");
    let installed = "/usr/local/bin/key-failover-gateway";
    std::fs::write(&unit, text.replace(installed, binary)).unwrap();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(tool)
            .args(arguments)
            .arg(&unit)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run(&["verify", "--man=no"]);
    run(&["security", "--offline=true", "--threshold=20", "--no-pager"]);
}

/// The metrics and labels of a gateway for which everything has happened that is counted.
#[cfg(all(feature = "metrics", feature = "redis"))]
pub async fn metrics() -> String {
    use axum::http::Response;

    use crate::support::{
        GOOD, LIMITED, REVOKED, file, gateway, get, post, send, upstream_with, with,
    };

    let upstream = upstream_with(async |request| {
        let status = match request.uri().path() {
            "/odd" => 403,
            _ => 200,
        };
        Response::builder().status(status).body("".into()).unwrap()
    });
    let upstream = upstream.await;
    let keys = file(&format!("a = {REVOKED}\nb = {LIMITED}\nc = {GOOD}"));
    let keys = gateway("openai", &upstream.url).keys_file(&keys);
    let replicas = keys
        .args(["--redis", "redis://127.0.0.1:9"])
        .env("GATEWAY_REDIS_SECRET", "at-least-sixteen-bytes");
    let limits = replicas.args(["--max-replay-bytes", "7"]);
    let gateway = limits.admin().admin_token().listen().await;
    send(get(&gateway.url("/"))).await;
    send(get(&gateway.url("/odd"))).await;
    gateway.change("/keys/0/reinstate").await;
    // Its body cannot be sent again.
    send(post(&gateway.url("/"))).await;
    let own = with(get(&gateway.url("/")), "authorization", "Bearer sk-own");
    send(own).await;
    gateway.change("/keys/2/disable").await;
    send(get(&gateway.url("/"))).await;
    send(get(&gateway.admin_url("/metrics"))).await.text
}

#[cfg(all(feature = "metrics", feature = "redis"))]
#[tokio::test]
async fn metrics_and_labels_in_alerts_and_dashboard_exist() {
    let metrics = metrics().await;
    let names = |text: &str| -> BTreeSet<String> {
        let is_part = |character: char| character.is_ascii_lowercase() || character == '_';
        let mut names = words(text, "key_pool_", is_part);
        names.extend(words(text, "gateway_", is_part));
        names
    };
    let exists = names(&metrics);
    let mut used = 0;

    for name in ["prometheus-alerts.yaml", "grafana-dashboard.json"] {
        for metric in names(&read(name)) {
            assert!(exists.contains(&metric), "{name}: {metric} in {metrics}");
            used += 1;
        }
    }
    assert!(used > 10, "{used}");
    for label in ["pool", "state", "reason", "key", "le"] {
        assert!(
            metrics.contains(&format!("{label}=\"")),
            "{label}: {metrics}"
        );
    }
}

#[test]
fn each_alert_has_a_condition_and_a_summary() {
    let alerts = yaml("prometheus-alerts.yaml");
    let rules = alerts[0]["groups"][0]["rules"].as_vec().unwrap();
    assert!(rules.len() > 3);

    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        let expression = rule["expr"].as_str().unwrap();
        assert_eq!(
            expression.matches('(').count(),
            expression.matches(')').count()
        );
        assert!(rule["labels"]["severity"].as_str().is_some(), "{name}");
        assert!(rule["annotations"]["summary"].as_str().is_some(), "{name}");
    }
}

#[test]
fn the_dashboard_is_valid_json_and_each_panel_has_a_query() {
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());

    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert_eq!(
                expression.matches('(').count(),
                expression.matches(')').count()
            );
        }
    }
}

#[test]
fn the_containerfile_builds_the_gateway_with_the_minimum_rust_version() {
    let text = read("Containerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let instructions = [
        "FROM",
        "RUN",
        "WORKDIR",
        "COPY",
        "USER",
        "EXPOSE",
        "STOPSIGNAL",
        "ENTRYPOINT",
    ];
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let instruction = line.split(' ').next().unwrap();
        assert!(instructions.contains(&instruction), "{line}");
    }
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(
        text.contains(&format!("FROM docker.io/library/rust:{version}-")),
        "{text}"
    );
    assert!(text.contains("--package key-failover-gateway"));
    assert!(
        lines.last().unwrap().starts_with("ENTRYPOINT [\""),
        "{text}"
    );
}
