//! The structure that an answer must have: JSON schemas, regular expressions and Lark grammars.

use crate::schema::{self, SchemaError};
use llguidance::api::TopLevelGrammar;
use serde_json::{Value, json};

/// The structure that an answer must have.
#[derive(Clone, Debug, PartialEq)]
pub enum Structure {
    /// Any JSON object.
    JsonObject,
    /// JSON that follows this schema.
    JsonSchema(Value),
    /// Text that this regular expression matches completely.
    Regex(String),
    /// Text that follows this Lark grammar (llguidance's dialect).
    Lark(String),
}

impl Structure {
    /// Returns the grammar that llguidance compiles.
    pub(crate) fn grammar(&self) -> Result<TopLevelGrammar, SchemaError> {
        Ok(match self {
            Structure::JsonObject => TopLevelGrammar::from_json_schema(json_grammar(&json!({ "type": "object" }))?),
            Structure::JsonSchema(schema) => TopLevelGrammar::from_json_schema(json_grammar(schema)?),
            Structure::Regex(regex) => TopLevelGrammar::from_regex(regex),
            Structure::Lark(grammar) => TopLevelGrammar::from_lark(grammar.clone()),
        })
    }
}

/// Quotes a text as a literal of a Lark grammar.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Converts a schema to the form that llguidance supports ([`crate::schema`]). White space between JSON tokens is
/// allowed but bounded, because a small model might never stop writing it. `oneOf` is treated as `anyOf`: more than
/// one schema may match.
pub(crate) fn json_grammar(schema: &Value) -> Result<Value, SchemaError> {
    let mut schema = schema::prepare(schema)?;
    let options = json!({ "whitespace_pattern": "[ \\n\\t\\r]{0,16}", "coerce_one_of": true });
    if let (Some(object), Value::Object(options)) = (schema.as_object_mut(), options) {
        let given = object.entry("x-guidance").or_insert_with(|| json!({}));
        if let Some(given) = given.as_object_mut() {
            for (key, value) in options {
                given.entry(key).or_insert(value);
            }
        }
    }
    Ok(schema)
}
