//! Rejects keywords that no value satisfies or that llguidance cannot read. The error is at the keyword itself.

use super::error::{SchemaError, child, error};
use crate::patterns;
use serde_json::{Map, Value};

/// Pairs of a lower and an upper bound.
const BOUNDS: [(&str, &str); 5] = [
    ("minimum", "maximum"),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minContains", "maxContains"),
];

/// Rejects bounds with nothing between them, a `multipleOf` that is not positive, and invalid regular expressions.
pub(super) fn check(object: &Map<String, Value>, at: &str) -> Result<(), SchemaError> {
    let number = |key: &str| object.get(key).and_then(Value::as_f64);
    for (low, high) in BOUNDS {
        if let (Some(least), Some(most)) = (number(low), number(high))
            && least > most
        {
            return error(&child(at, low), format!("{low} {least} is above {high} {most}; no value fits"));
        }
    }
    if let Some(multiple) = number("multipleOf").filter(|multiple| *multiple <= 0.0) {
        return error(&child(at, "multipleOf"), format!("multipleOf {multiple}: expected a number above 0"));
    }
    if let Some(pattern) = object.get("pattern").and_then(Value::as_str) {
        patterns::check(pattern).or_else(|why| error(&child(at, "pattern"), why))?;
    }
    for pattern in object.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
        patterns::check(pattern).or_else(|why| error(&child(&child(at, "patternProperties"), pattern), why))?;
    }
    Ok(())
}
