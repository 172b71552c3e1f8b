//! The configuration file.
//!
//! No message contains a value of the file, because it may be a key.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use crate::settings::Settings;
use crate::suggestion::similar;

/// Reads the fields, and checks each on its own.
pub fn parse(text: &str) -> Result<Settings, Problem> {
    let line = |error: &toml::de::Error| Some(line_at(text, error.span()?.start));
    let syntax = |error: toml::de::Error| Problem {
        path: Vec::new(),
        line: line(&error),
        what: error.message().to_owned(),
    };
    let deserializer = toml::Deserializer::parse(text).map_err(syntax)?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().message();
        let (path, what) = match unknown_field(message) {
            // The path may end with the name of the field.
            Some((name, what)) => (path.trim_end_matches(name).to_owned(), what),
            None => (path, without_value(message)),
        };
        Problem {
            path: path.split('.').map(str::to_owned).collect(),
            line: line(error.inner()),
            what,
        }
    })
}

/// The name of an unknown field, and the message with the most similar field. The name is shown only if
/// it cannot be a key in the wrong place.
fn unknown_field(message: &str) -> Option<(&str, String)> {
    let mut names = message
        .strip_prefix("unknown field ")?
        .split('`')
        .skip(1)
        .step_by(2);
    let unknown = names.next()?;
    let is_harmless = unknown.len() <= 24
        && unknown
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'-'));
    let shown = match is_harmless {
        true => format!("unknown field {unknown}"),
        false => "unknown field".to_owned(),
    };
    Some(match similar(unknown, names) {
        Some(other) => (unknown, format!("{shown}; did you mean {other}?")),
        None => (unknown, shown),
    })
}

/// Keeps what was expected from a message such as "invalid type: string \"x\", expected a table".
fn without_value(message: &str) -> String {
    let names_value = ["invalid ", "unknown variant"]
        .iter()
        .any(|start| message.starts_with(start));
    match message.rfind("expected ") {
        Some(at) if names_value => message[at..].to_owned(),
        None if names_value => "invalid value".to_owned(),
        _ => message.to_owned(),
    }
}

/// The message for a problem in the file, with its line and field.
pub fn describe(text: &str, problem: &Problem) -> String {
    let path: Vec<&str> = problem.path.iter().map(String::as_str).collect();
    let path = path.strip_suffix(&[""]).unwrap_or(&path);
    let mut message = String::new();
    if let Some(line) = problem.line.or_else(|| line_of(text, path)) {
        message.push_str(&format!("line {line}: "));
    }
    if !path.is_empty() && path != ["."] {
        message.push_str(&format!("{}: ", path.join(".")));
    }
    message + &problem.what
}

/// The line of a field, or of the innermost table on its path.
fn line_of(text: &str, path: &[&str]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let (mut table, mut found) = (document.get_ref(), None);
    for name in path {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
            break;
        };
        found = Some(start_of(key, value));
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    Some(line_at(text, found?))
}

/// Where a field starts. The name of a table is that of its header.
fn start_of(key: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> usize {
    match value.get_ref() {
        DeValue::Table(_) => value.span().start,
        _ => key.span().start,
    }
}

fn line_at(text: &str, at: usize) -> usize {
    1 + text[..at.min(text.len())].matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let problem = parse(text).map(drop).unwrap_err();
        describe(text, &problem)
    }

    #[test]
    fn an_unknown_field_is_named_with_its_line_and_the_most_similar_field() {
        for (text, expected) in [
            (
                "open = true\nlisen = \"x\"\n",
                "line 2: unknown field lisen; did you mean listen?",
            ),
            (
                "[routes.a]\nprovider = \"openai\"\nup-stream = \"x\"\n",
                "line 3: routes.a: unknown field up-stream; did you mean upstream?",
            ),
            ("[routes.a]\nzzz = 1", "line 2: routes.a: unknown field zzz"),
            ("sk-Canary1 = 2", "line 1: unknown field"),
        ] {
            assert_eq!(message(text), expected);
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_reported_without_the_value() {
        for (text, expected) in [
            (
                "[routes.a]\nkeys = \"sk-canary\"",
                "line 2: routes.a.keys: expected a sequence",
            ),
            (
                "[routes.a]\nkeys = [\"x\", 5]",
                "line 2: routes.a.keys[1]: expected a string",
            ),
            ("routes = \"sk-canary\"", "line 1: routes: expected a map"),
            (
                "\n[routes.a]\ncooldown = \"sk-canary\"",
                "line 3: routes.a.cooldown: expected a time such as 500ms, 30s, 10m, 2h or 1d",
            ),
            (
                "log = \"sk-canary\"",
                "line 1: log: expected one of `text`, `json`, `off`",
            ),
            (
                "max_connections = 0",
                "line 1: max_connections: expected a nonzero usize",
            ),
            (
                "[routes.a]\nprovider = \"antropic\"",
                "line 2: routes.a.provider: no such provider; did you mean anthropic?",
            ),
        ] {
            assert_eq!(message(text), expected, "{text}");
        }
    }

    #[test]
    fn invalid_syntax_is_reported_with_its_line_and_without_its_text() {
        for text in [
            "open = true\nkeys = [sk-canary",
            "open = true\nsk-canary",
            "open = true\nlisten = \"sk-canary",
            "open = true\nopen = false # sk-canary",
            "open = true\n[routes.sk-canary",
        ] {
            let message = message(text);
            assert!(message.starts_with("line 2: "), "{message}");
            assert!(!message.contains("canary"), "{message}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_path() {
        let text = "open = true\n\n[routes.a]\nhost = \"x\"\n\n[routes.b]\nkeys = [\n  \"y\",\n]\n";
        for (path, line) in [
            (&["open"][..], Some(1)),
            (&["routes", "a"], Some(3)),
            (&["routes", "a", "host"], Some(4)),
            (&["routes", "b", "keys"], Some(7)),
            (&["routes", "b", "upstream"], Some(6)),
            (&["admin"], None),
        ] {
            assert_eq!(line_of(text, path), line, "{path:?}");
        }
    }
}
