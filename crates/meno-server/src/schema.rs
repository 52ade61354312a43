//! JSON schemas as the grammar engine takes them.
//!
//! llguidance refuses keywords that it does not know, and reads references only as plain paths. So a schema is
//! rewritten: what changes nothing is left out, what can be said with other keywords is said with them, and every reference
//! leads to its own definition. What a grammar cannot impose is either let be, where a schema still says most of
//! what was meant (`uniqueItems`, an unknown `format`), or refused with its place as a JSON pointer.

mod keywords;
mod ranges;
mod references;

use references::References;
use serde_json::{Map, Value, json};

/// What is wrong with a schema, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// A JSON pointer; empty for the whole schema.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at #{}: {}", self.pointer, self.message)
    }
}

/// Deepest schema within a schema.
const MAX_DEPTH: usize = 100;

/// A schema that means the same, as far as a grammar can impose it, in the keywords that the grammar engine knows.
pub fn prepare(schema: &Value) -> Result<Value, SchemaError> {
    let mut work = Work { references: References::new(schema), depth: 0 };
    let mut root = work.schema(schema, "")?;
    if root == Value::Bool(true) {
        root = json!({});
    }
    let mut definitions = Map::new();
    while let Some((name, pointer, target)) = work.references.next_wanted() {
        definitions.insert(name, work.schema(&target, &pointer)?);
    }
    let Some(object) = root.as_object_mut() else {
        return error("", "it is false, which no answer satisfies");
    };
    if !definitions.is_empty() {
        object.insert("$defs".into(), definitions.into());
    }
    if let Some(options) = schema.get("x-guidance") {
        object.insert("x-guidance".into(), options.clone());
    }
    Ok(root)
}

fn error<T>(pointer: &str, message: impl Into<String>) -> Result<T, SchemaError> {
    Err(SchemaError { pointer: pointer.to_owned(), message: message.into() })
}

/// A pointer to a part.
pub(crate) fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

struct Work<'a> {
    references: References<'a>,
    depth: usize,
}

impl Work<'_> {
    fn schema(&mut self, schema: &Value, at: &str) -> Result<Value, SchemaError> {
        let object = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(object) => object,
            other => return error(at, format!("a schema is an object or a boolean, not {}", kind(other))),
        };
        if self.depth == MAX_DEPTH {
            return error(at, format!("it is nested more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let result = keywords::object(self, object, at);
        self.depth -= 1;
        result
    }

    fn list(&mut self, value: &Value, at: &str) -> Result<Value, SchemaError> {
        let Value::Array(items) = value else {
            return error(at, format!("expected a list of schemas, not {}", kind(value)));
        };
        items.iter().enumerate().map(|(i, item)| self.schema(item, &child(at, &i.to_string()))).collect()
    }

    fn map(&mut self, value: &Value, at: &str) -> Result<Value, SchemaError> {
        let Value::Object(entries) = value else {
            return error(at, format!("expected an object of schemas, not {}", kind(value)));
        };
        let part = |(key, value): (&String, &Value)| Ok((key.clone(), self.schema(value, &child(at, key))?));
        Ok(Value::Object(entries.iter().map(part).collect::<Result<_, _>>()?))
    }
}

/// What a value is, in a word.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
#[path = "schema/tests.rs"]
mod tests;
