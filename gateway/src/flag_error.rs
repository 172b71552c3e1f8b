//! Messages for errors on the command line.
//!
//! No message contains a value, because it may be a key.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::bad_input::BadInput;

/// One line: the flag, what is wrong with it, and the flag that was meant.
pub fn describe(error: &clap::Error) -> BadInput {
    let flags = texts(error, ContextKind::InvalidArg);
    let what = match error.kind() {
        ErrorKind::UnknownArgument => return unknown(error, &flags),
        ErrorKind::InvalidValue => {
            let expected = texts(error, ContextKind::ValidValue);
            match expected.is_empty() {
                true => "the value is missing".to_owned(),
                false => format!("expected {}", expected.join(", ")),
            }
        }
        ErrorKind::ArgumentConflict => match &*texts(error, ContextKind::PriorArg) {
            [] => "given more than once".to_owned(),
            others if *others == *flags => "given more than once".to_owned(),
            others => format!("cannot be used with {}", others.join(", ")),
        },
        // The error of the value's type.
        _ => match error.source() {
            Some(source) => source.to_string(),
            None => error.kind().to_string(),
        },
    };
    match flags.is_empty() {
        true => BadInput(what),
        false => BadInput(format!("{}: {what}", flags.join(", "))),
    }
}

fn unknown(error: &clap::Error, given: &[&str]) -> BadInput {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    let is_harmless =
        |flag: &&&str| flag.len() <= 24 && flag.starts_with("--") && flag.bytes().all(is_name);
    let mut line = match given.first().filter(is_harmless) {
        Some(flag) => format!("unexpected argument {flag}"),
        None => "unexpected argument".to_owned(),
    };
    if let Some(meant) = texts(error, ContextKind::SuggestedArg).first() {
        line.push_str(&format!("; did you mean {meant}?"));
    }
    BadInput(line)
}

/// The names that the error carries. Those of flags come without what their values are called.
fn texts(error: &clap::Error, kind: ContextKind) -> Vec<&str> {
    let texts = match error.get(kind) {
        Some(ContextValue::String(text)) => std::slice::from_ref(text),
        Some(ContextValue::Strings(texts)) => texts,
        _ => &[],
    };
    let texts = texts.iter();
    texts.filter_map(|it| it.split(' ').next()).collect()
}
