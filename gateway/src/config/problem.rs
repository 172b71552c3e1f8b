//! A problem with a setting.

/// What is wrong with a setting, without its value, which may be a secret.
#[derive(Debug)]
pub struct Problem {
    /// The names of the tables that contain the field, and of the field.
    pub path: Vec<String>,
    /// The line in the file, if it is known.
    pub line: Option<usize>,
    pub what: String,
}

impl Problem {
    /// A problem with a setting of the whole gateway.
    pub fn of(field: &str, what: impl Into<String>) -> Self {
        Self {
            path: vec![field.to_owned()],
            line: None,
            what: what.into(),
        }
    }

    /// A problem with a route, or with one of its fields.
    pub fn of_route(route: &str, field: Option<&str>, what: impl Into<String>) -> Self {
        let path = ["routes", route].into_iter().chain(field);
        Self {
            path: path.map(str::to_owned).collect(),
            line: None,
            what: what.into(),
        }
    }
}
