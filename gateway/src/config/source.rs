//! Where the configuration comes from: the command line, or a file.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::problem::Problem;
use super::{Config, toml_file};
use crate::bad_input::{BadInput, bad};
use crate::environment;
use crate::flags::Flags;
use crate::settings::Settings;

/// The variable with the keys, for the route that the flags describe.
const KEYS: &str = "GATEWAY_KEYS";

pub enum Source {
    CommandLine(Box<Flags>),
    File(PathBuf),
}

impl Source {
    pub fn new(flags: Flags) -> Self {
        match flags.config {
            Some(file) => Self::File(file),
            None => Self::CommandLine(Box::new(flags)),
        }
    }

    /// Reads and checks everything: the file, the keys files and the environment.
    pub fn read(&self) -> Result<Config, BadInput> {
        match self {
            Self::CommandLine(flags) => {
                let settings = from_flags(flags)?;
                Config::new(settings, None).map_err(|problem| of_flag(&problem))
            }
            Self::File(file) => {
                let name = self.name();
                let text = std::fs::read_to_string(file).map(SecretString::from);
                let text = text.map_err(|error| BadInput(format!("{name}: {error}")))?;
                let folder = file.parent().unwrap_or(Path::new(""));
                let read = toml_file::parse(text.expose_secret());
                let read = read.and_then(|settings| Config::new(settings, Some(folder)));
                let mut config = read.map_err(|problem| self.in_file(&text, &problem))?;
                config.files.push(file.clone());
                config.texts.push(text);
                Ok(config)
            }
        }
    }

    /// The message for a problem with the settings of a configuration that was read from here.
    pub fn describe(&self, config: &Config, problem: &Problem) -> BadInput {
        match (self, config.texts.last()) {
            // The text of the file comes last.
            (Self::File(_), Some(text)) => self.in_file(text, problem),
            _ => of_flag(problem),
        }
    }

    fn in_file(&self, text: &SecretString, problem: &Problem) -> BadInput {
        let line = toml_file::describe(text.expose_secret(), problem);
        BadInput(format!("{}: {line}", self.name()))
    }

    /// The name in messages.
    pub fn name(&self) -> String {
        match self {
            Self::CommandLine(_) => "the command line".to_owned(),
            Self::File(file) => format!("--config {}", file.display()),
        }
    }
}

/// The flags are a configuration with one route, which is named after its provider.
fn from_flags(flags: &Flags) -> Result<Settings, BadInput> {
    let (mut settings, mut route) = (flags.settings.clone(), flags.route.clone());
    let Some(provider) = &route.provider else {
        return bad("--provider and --upstream are required, or --config");
    };
    let has_variable = environment::variable(KEYS)?.is_some();
    match (&route.keys_file, has_variable) {
        (Some(_), true) => {
            return bad("--keys-file and GATEWAY_KEYS are both given: use one of them");
        }
        (None, false) if !provider.is_byok_only() => {
            return bad("no keys: set GATEWAY_KEYS or give --keys-file");
        }
        (None, true) if !provider.is_byok_only() => route.keys_env = Some(KEYS.to_owned()),
        _ => {}
    }
    settings.routes.insert(provider.name().to_owned(), route);
    Ok(settings)
}

/// The message for a setting that is a flag.
fn of_flag(problem: &Problem) -> BadInput {
    let what = &problem.what;
    BadInput(match problem.path.last().map(String::as_str) {
        Some("keys_env") => format!("{KEYS}: {what}"),
        // A field of the only route is missing.
        Some(_) if problem.path.len() == 2 => format!("--{what}"),
        Some(field) => format!("--{} {what}", field.replace('_', "-")),
        None => what.clone(),
    })
}
