//! A configuration file with an error is rejected with one line that names file, line and field.

use super::{ConfigFile, route};
use crate::support::{GOOD, LIMITED, bare, configured, file};

const UPSTREAM: &str = "http://127.0.0.1:9";

/// The message for a file with this text.
async fn message(text: &str) -> String {
    let file = ConfigFile::new("");
    file.write(text);
    let line = configured(&file.path).refused().await;
    let checked = configured(&file.path).args(["--check"]).refused().await;
    assert_eq!(line, checked);
    assert!(!line.contains("canary"), "{line}");
    let start = format!("gateway: --config {}: ", file.path.display());
    let message = line.strip_prefix(&start);
    message
        .unwrap_or_else(|| panic!("{line}"))
        .trim_end()
        .to_owned()
}

#[tokio::test]
async fn an_unknown_field_is_answered_with_the_most_similar_one() {
    for (text, expected) in [
        (
            "lissten = \"x\"".to_owned(),
            "line 1: unknown field lissten; did you mean listen?",
        ),
        (
            route("a", "max-attempts = 3", UPSTREAM, GOOD),
            "line 6: routes.a: unknown field max-attempts; did you mean max_attempts?",
        ),
        (
            "\n[route.a]\n".to_owned(),
            "line 2: unknown field route; did you mean routes?",
        ),
    ] {
        assert_eq!(message(&text).await, expected);
    }
}

#[tokio::test]
async fn an_invalid_value_is_reported_with_its_line_and_field() {
    for (fields, expected) in [
        (
            "cooldown = \"60\"",
            "line 6: routes.a.cooldown: expected a time",
        ),
        ("byok = \"maybe\"", "line 6: routes.a.byok: expected detect"),
        (
            "max_attempts = 0",
            "line 6: routes.a.max_attempts: expected a nonzero",
        ),
        (
            "max_attempts = \"3\"",
            "line 6: routes.a.max_attempts: expected a nonzero",
        ),
        (
            "prefix = \"a\"",
            "line 6: routes.a.prefix: expected a path such as /openai",
        ),
        (
            "host = \"a:80\"",
            "line 6: routes.a.host: expected a host name",
        ),
        (
            "host = \"gateway.example\"",
            "line 6: routes.a.host: only local hosts",
        ),
        (
            "keys_env = \"X\"",
            "line 6: routes.a.keys_env: keys is also given",
        ),
        (
            "keys_file = \"x\"",
            "line 6: routes.a.keys_file: keys is also given",
        ),
    ] {
        let message = message(&route("a", fields, UPSTREAM, GOOD)).await;
        assert!(message.starts_with(expected), "{message}");
    }
    for (provider, expected) in [
        (
            "antropic",
            "line 3: routes.a.provider: no such provider; did you mean anthropic?",
        ),
        ("sk-canary-1", "line 3: routes.a.provider: no such provider"),
    ] {
        let text = route("a", "", UPSTREAM, GOOD).replace("openai", provider);
        let message = message(&text).await;
        assert!(message.starts_with(expected), "{message}");
    }
}

#[tokio::test]
async fn an_error_in_the_keys_names_the_entry_and_no_key() {
    let keys = |keys: &str| {
        format!("[routes.a]\nprovider = \"openai\"\nupstream = \"{UPSTREAM}\"\n\n{keys}\n")
    };
    for (keys, expected) in [
        (
            keys(&format!("keys = [\n\"{GOOD}\",\n\"{GOOD}\"]")),
            "line 5: routes.a.keys: entry 2: the same key is on entry 1",
        ),
        (
            keys(&format!("keys = \"{GOOD}\"")),
            "line 5: routes.a.keys: expected a sequence",
        ),
        (
            keys(&format!("keys = [\"{GOOD}\", [\"{LIMITED}\"]]")),
            "line 5: routes.a.keys[1]: expected a string",
        ),
        (
            keys(&format!("keys = [\"{GOOD}\\n{LIMITED}\"]")),
            "line 5: routes.a.keys: entry 1: a key contains no white space",
        ),
        (keys("keys = []"), "line 5: routes.a.keys: a key pool"),
        (
            keys("keys_env = \"NO_SUCH_VARIABLE\""),
            "line 5: routes.a.keys_env: the variable is not set",
        ),
        (keys("keys_file = \"none\""), "line 5: routes.a.keys_file: "),
        (keys("keys_file = \".\""), "line 5: routes.a.keys_file: "),
        (keys(""), "line 1: routes.a: no keys"),
        (keys(&format!("keys = [\"{GOOD}\", {GOOD}]")), "line 5: "),
        (
            keys(&format!("{GOOD} = \"x\"")),
            "line 5: routes.a: unknown field",
        ),
    ] {
        let message = message(&keys).await;
        assert!(message.starts_with(expected), "{message}");
    }
}

#[tokio::test]
async fn a_key_in_the_place_of_another_value_is_not_reported() {
    let whole = |field: &str| format!("{field} = \"{GOOD}\"\n") + &route("a", "", UPSTREAM, GOOD);
    let of_route = |field: &str, upstream: &str| {
        format!(
            "[routes.a]\nprovider = \"openai\"\nupstream = \"{upstream}\"\n{field} = \"{GOOD}\"\n"
        )
    };
    for (text, expected) in [
        (
            of_route("keys_env", UPSTREAM),
            "line 4: routes.a.keys_env: the variable is not set",
        ),
        (
            of_route("keys_file", UPSTREAM),
            "line 4: routes.a.keys_file: cannot be read: No such file",
        ),
        (
            of_route("byok", UPSTREAM),
            "line 4: routes.a.byok: expected detect",
        ),
        (
            of_route("selection", UPSTREAM),
            "line 4: routes.a.selection: expected in-order",
        ),
        (
            of_route("scope", UPSTREAM),
            "line 4: routes.a.scope: expected auto",
        ),
        (
            of_route("affinity", UPSTREAM),
            "line 4: routes.a.affinity: expected header:NAME",
        ),
        (
            of_route("prefix", UPSTREAM),
            "line 4: routes.a.prefix: expected a path",
        ),
        (
            route("a", "", GOOD, GOOD),
            "line 4: routes.a.upstream: is not a URL",
        ),
        (
            route("a", "", &format!("{GOOD} "), GOOD),
            "line 4: routes.a.upstream: is not a URL",
        ),
        (
            route("a", "", &format!("https://host?key={GOOD}"), GOOD),
            "line 4: routes.a.upstream: must not have a query",
        ),
        (whole("admin"), "line 1: admin: cannot be resolved"),
        (whole("listen"), "line 1: listen: cannot be resolved"),
        (whole("log"), "line 1: log: expected one of"),
        (whole("open"), "line 1: open: expected a boolean"),
        (format!("{GOOD} = 1\n{GOOD} = 2\n"), "line 2: duplicate key"),
    ] {
        let file = ConfigFile::new("");
        file.write(&text);
        for args in [&[][..], &["--check"]] {
            let gateway = args
                .iter()
                .fold(configured(&file.path), |it, arg| it.args([arg]));
            let line = gateway.refused().await;
            assert!(line.contains(expected), "{line}");
            assert!(!line.contains("canary"), "{line}");
        }
    }
}

#[tokio::test]
async fn an_error_in_a_keys_file_of_a_route_names_both_lines() {
    let file = ConfigFile::new(&format!(
        "[routes.a]\nprovider = \"openai\"\nupstream = \"{UPSTREAM}\"\nkeys_file = \"keys\"\n"
    ));
    let keys = file.directory.path("keys");
    std::fs::write(&keys, format!("{GOOD}\n{GOOD}\n")).unwrap();

    let line = configured(&file.path).refused().await;

    let expected = format!(
        "line 6: routes.a.keys_file: {}: line 2: the same key is on line 1",
        keys.display()
    );
    assert!(line.contains(&expected), "{line}");
}

#[tokio::test]
async fn routes_that_contradict_each_other_or_lack_a_field_are_rejected() {
    for (text, expected) in [
        (String::new(), "routes: at least one route is required"),
        (
            [
                route("a", "", UPSTREAM, GOOD),
                route("b", "", UPSTREAM, GOOD),
            ]
            .concat(),
            "line 8: routes.b: has the host and the prefix of routes.a",
        ),
        (
            "[routes.a]\nprovider = \"openai\"".to_owned(),
            "line 1: routes.a: upstream is missing",
        ),
        (
            format!("[routes.a]\nupstream = \"{UPSTREAM}\""),
            "line 1: routes.a: provider is missing",
        ),
        (
            "[routes.\"a b\"]\n".to_owned(),
            "line 1: routes: the name of a route consists of",
        ),
        (
            route("a", "", "http://user:canary@host", GOOD),
            "line 4: routes.a.upstream: contains a user name or password",
        ),
        (
            route("a", "", UPSTREAM, GOOD).replace("openai", "copilot"),
            "line 5: routes.a.keys: copilot's clients always bring their own key",
        ),
    ] {
        let message = message(&text).await;
        assert!(message.starts_with(expected), "{message}");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_reported_with_its_line() {
    let a = route("a", "", UPSTREAM, GOOD);
    for (field, expected) in [
        (
            "listen = \"0.0.0.0:0\"",
            "line 1: listen: 0.0.0.0:0 is not on loopback: set GATEWAY_CLIENT_TOKEN",
        ),
        (
            "listen = \"x\"",
            "line 1: listen: cannot be resolved: invalid",
        ),
        (
            "admin = \"x\"",
            "line 1: admin: cannot be resolved: invalid",
        ),
    ] {
        let message = message(&format!("{field}\n{a}")).await;
        assert!(message.starts_with(expected), "{message}");
    }
}

#[tokio::test]
async fn a_missing_configuration_file_is_reported() {
    let line = bare()
        .args(["--config", "/nowhere/gateway.toml"])
        .refused()
        .await;

    assert!(
        line.contains("--config /nowhere/gateway.toml: No such file"),
        "{line}"
    );
}

#[tokio::test]
async fn flags_contradict_a_configuration_file() {
    let file = file("");
    for flags in [
        ["--provider", "openai"],
        ["--listen", "127.0.0.1:0"],
        ["--cooldown", "1s"],
        ["--keys-file", "keys"],
        ["--byok", "detect"],
    ] {
        let line = configured(&file).args(flags).refused().await;
        assert!(
            line.contains("--config") && line.contains(flags[0]),
            "{line}"
        );
        assert!(line.contains("cannot be used with"), "{line}");
    }
    std::fs::remove_file(file).unwrap();
}
