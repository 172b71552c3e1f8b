//! Finds the top-level field `model` in the start of a JSON object.

use std::fmt;

use serde_core::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::pool::Scope;

/// What the start of a body says about its model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// The scope, or `None` if the body names no model that is a valid scope.
    Known(Option<Scope>),
    /// More of the body can change that.
    Incomplete,
}

impl Model {
    /// What is known if no more of the body is read.
    pub(super) fn or_none(self) -> Self {
        match self {
            Self::Known(scope) => Self::Known(scope),
            Self::Incomplete => Self::Known(None),
        }
    }
}

/// Parses the start of a body, up to the first top-level field `model`.
///
/// Takes linear time and no more memory than the input, whatever its nesting.
pub(super) fn find(start: &[u8]) -> Model {
    let mut model = None;
    let mut json = serde_json::Deserializer::from_slice(start);
    let result = json.deserialize_map(Fields { model: &mut model });
    match (model, result) {
        // The rest of the object was not parsed, which is an error.
        (Some(model), _) => Model::Known(model),
        (None, Err(error)) if error.is_eof() || ends_in_number(start) => Model::Incomplete,
        (None, _) => Model::Known(None),
    }
}

/// Whether this is the string `"model"`, with or without escapes.
pub(super) fn is_model(string: &[u8]) -> bool {
    let mut json = serde_json::Deserializer::from_slice(string);
    IsModel.deserialize(&mut json).unwrap_or(false)
}

/// Whether a number may be cut off, which the parser takes for an invalid one.
fn ends_in_number(start: &[u8]) -> bool {
    let last = start.last();
    last.is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
}

/// Visits the fields of the top-level object.
struct Fields<'a> {
    model: &'a mut Option<Option<Scope>>,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(is_model) = fields.next_key_seed(IsModel)? {
            if is_model {
                *self.model = Some(fields.next_value_seed(Name)?);
                return Ok(());
            }
            fields.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Whether a field's name is `model`, with or without escapes.
struct IsModel;

impl<'de> DeserializeSeed<'de> for IsModel {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<bool, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for IsModel {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == "model")
    }
}

/// The value of the field. Anything but a string is an error, after which nothing is known.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<Scope>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        value.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<Scope>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a model")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Scope::new(name))
    }
}
