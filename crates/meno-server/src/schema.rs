//! Rewrites JSON schemas to the subset that llguidance supports.
//!
//! llguidance rejects unknown keywords and reads references only as plain paths. Therefore keywords without effect are
//! removed, others are expressed with supported keywords, and every reference gets its own definition. Some constraints
//! cannot be expressed as a grammar. They are ignored if the rest of the schema still says most of what was meant
//! (`uniqueItems`, an unknown `format`); otherwise they are an error with the JSON pointer of the keyword.

mod error;
mod keywords;
mod property_names;
mod ranges;
mod references;
mod rewrite;

pub use error::SchemaError;
pub(crate) use error::child;

use error::error;
use rewrite::Rewriter;
use serde_json::{Map, Value, json};

/// Rewrites a schema to the supported keywords. The result means the same, as far as a grammar can enforce it.
pub fn prepare(schema: &Value) -> Result<Value, SchemaError> {
    let mut rewriter = Rewriter::new(schema);
    let mut root = rewriter.schema(schema, "")?;
    if root == Value::Bool(true) {
        root = json!({});
    }
    let mut definitions = Map::new();
    while let Some((name, pointer, target)) = rewriter.references.next_wanted() {
        definitions.insert(name, rewriter.schema(&target, &pointer)?);
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

#[cfg(test)]
#[path = "schema/tests.rs"]
mod tests;
