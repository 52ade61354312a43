//! Errors in schemas, and the JSON pointers that locate them.

use serde_json::Value;

/// An error in a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// The JSON pointer of the part that is wrong; empty for the whole schema.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at #{}: {}", self.pointer, self.message)
    }
}

/// Returns an error at `pointer`.
pub(super) fn error<T>(pointer: &str, message: impl Into<String>) -> Result<T, SchemaError> {
    Err(SchemaError { pointer: pointer.to_owned(), message: message.into() })
}

/// The pointer of a child of the value at `pointer`.
pub(crate) fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The type of a value, for errors.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
