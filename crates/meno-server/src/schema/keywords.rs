//! Keywords of a schema object that need no recursion.

use super::error::{SchemaError, child, error, kind};
use serde_json::{Map, Value, json};

/// The types of values.
const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
/// The formats that llguidance supports. Others are ignored.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];
/// Keywords that have no effect on values, or none that a grammar could enforce.
const ANNOTATIONS: [&str; 27] = [
    "$schema",
    "$id",
    "id",
    "$anchor",
    "$dynamicAnchor",
    "$recursiveAnchor",
    "$vocabulary",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "example",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentMediaType",
    "contentEncoding",
    "contentSchema",
    "uniqueItems",
    "nullable",
    "discriminator",
    "x-guidance",
    "xml",
    "externalDocs",
];

/// Returns true if a keyword has no effect on values, or none that a grammar could enforce.
pub(super) fn is_annotation(key: &str) -> bool {
    ANNOTATIONS.contains(&key)
}

/// Checks a keyword that contains no schemas. Returns its new value, or `None` if the keyword is left out.
pub(super) fn simple(key: &str, value: &Value, at: &str) -> Result<Option<Value>, SchemaError> {
    Ok(Some(match key {
        "type" => types(value, at)?,
        "enum" => values(value, at)?,
        "const" => value.clone(),
        "required" => names(value, at)?,
        "minItems" | "maxItems" | "minProperties" | "maxProperties" | "minLength" | "maxLength" => count(value, at)?,
        "minimum" | "maximum" | "multipleOf" if value.is_number() => value.clone(),
        "exclusiveMinimum" | "exclusiveMaximum" if value.is_number() || value.is_boolean() => value.clone(),
        "pattern" if value.is_string() => value.clone(),
        "format" if value.is_string() => {
            return Ok(Some(value.clone()).filter(|v| v.as_str().is_some_and(|f| FORMATS.contains(&f))));
        }
        "minimum" | "maximum" | "multipleOf" | "exclusiveMinimum" | "exclusiveMaximum" => {
            return error(at, format!("expected a number, not {}", kind(value)));
        }
        "pattern" | "format" => return error(at, format!("expected a string, not {}", kind(value))),
        _ => return Ok(None), // an unknown keyword, or one that is handled elsewhere
    }))
}

/// Checks `type`.
pub(super) fn types(value: &Value, at: &str) -> Result<Value, SchemaError> {
    let wrong = |shown: &Value| error(at, format!("{shown} is not a type; expected one of {}", TYPES.join(", ")));
    match value {
        Value::String(name) if TYPES.contains(&name.as_str()) => Ok(value.clone()),
        Value::Array(list) if list.is_empty() => error(at, "the list is empty; expected a type"),
        Value::Array(list) => match list.iter().find(|t| !t.as_str().is_some_and(|t| TYPES.contains(&t))) {
            Some(other) => wrong(other),
            None => Ok(value.clone()),
        },
        other => wrong(other),
    }
}

/// Checks `enum`.
fn values(value: &Value, at: &str) -> Result<Value, SchemaError> {
    match value {
        Value::Array(list) if list.is_empty() => error(at, "the list is empty, so no value is valid"),
        Value::Array(_) => Ok(value.clone()),
        other => error(at, format!("expected a list of values, not {}", kind(other))),
    }
}

/// Rejects a combination of schemas that no value satisfies.
pub(super) fn alternatives(list: Value, key: &str, at: &str) -> Result<Value, SchemaError> {
    match key {
        "anyOf" | "oneOf" if list.as_array().is_some_and(Vec::is_empty) => {
            error(at, "the list is empty, so no value is valid")
        }
        _ => Ok(list),
    }
}

/// Checks a list of property names.
pub(super) fn names(value: &Value, at: &str) -> Result<Value, SchemaError> {
    match value {
        Value::Array(list) => match list.iter().position(|name| !name.is_string()) {
            Some(i) => error(&child(at, &i.to_string()), "expected the name of a property"),
            None => Ok(value.clone()),
        },
        other => error(at, format!("expected a list of names, not {}", kind(other))),
    }
}

/// Checks a count; 5.0 is valid too.
fn count(value: &Value, at: &str) -> Result<Value, SchemaError> {
    let whole = value.as_f64().filter(|x| x.fract() == 0.0 && (0.0..1e15).contains(x));
    match whole {
        Some(number) => Ok(Value::from(number as u64)),
        None => error(at, format!("expected a whole number, 0 or more, not {value}")),
    }
}

/// Returns all types except these.
pub(super) fn other_types(value: &Value) -> Vec<&'static str> {
    let is = |name: &str| match value {
        Value::Array(list) => list.iter().any(|t| t == name),
        one => one == name,
    };
    TYPES.into_iter().filter(|&t| t != "integer" && !is(t)).collect()
}

/// Returns a schema that excludes the values in `some`, given the keywords `beside` it; `None` if there is no such
/// schema.
pub(super) fn excluded(some: &[Value], beside: &Map<String, Value>) -> Option<Value> {
    if let Some(Value::Array(all)) = beside.get("enum") {
        let left: Vec<&Value> = all.iter().filter(|v| !some.contains(v)).collect();
        return (!left.is_empty()).then(|| json!({ "enum": left }));
    }
    if let Some(one) = beside.get("const") {
        return (!some.contains(one)).then(|| json!({}));
    }
    let has = |value: Value| some.contains(&value);
    let finite = some.iter().all(|v| v.is_null() || v.is_boolean());
    if finite {
        let mut left: Vec<Value> = ["number", "string", "array", "object"].map(|t| json!({ "type": t })).into();
        left.extend(
            [json!(null), json!(true), json!(false)]
                .into_iter()
                .filter(|v| !has(v.clone()))
                .map(|v| json!({ "const": v })),
        );
        return Some(json!({ "anyOf": left }));
    }
    // Values of types that the schema does not allow are excluded anyway.
    let kinds: Vec<&str> = match beside.get("type")? {
        Value::String(one) => vec![one.as_str()],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let of = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let taken = |v: &Value| kinds.contains(&of(v)) || v.is_number() && kinds.contains(&"integer");
    (!some.iter().any(taken)).then(|| json!({}))
}

/// Rejects conditions. `if` without a branch and branches without `if` have no effect and are accepted.
pub(super) fn check_conditional(object: &Map<String, Value>, at: &str) -> Result<(), SchemaError> {
    let has = |key: &str| object.get(key).is_some_and(|v| !v.is_null() && *v != Value::Bool(true) && *v != json!({}));
    if object.contains_key("if") && (has("then") || has("else")) {
        return error(at, "a grammar cannot enforce conditions; list the cases with `anyOf`");
    }
    Ok(())
}

/// Rejects `contains`, unless it allows everything.
pub(super) fn check_contains(object: &Map<String, Value>, at: &str) -> Result<(), SchemaError> {
    let number = |key: &str| object.get(key).and_then(Value::as_f64);
    let any = |v: &Value| v.is_null() || *v == Value::Bool(true) || *v == json!({});
    let asked = object.get("contains").is_some_and(|c| !c.is_null());
    let nothing = number("minContains") == Some(0.0) && number("maxContains").is_none();
    if asked && !nothing && !object.get("contains").is_some_and(any) {
        return error(
            &child(at, "contains"),
            "a grammar cannot enforce this; describe the items with `prefixItems` or `items`",
        );
    }
    Ok(())
}

/// Unique items from a list of values cannot be more than there are values.
pub(super) fn limit_unique_items(object: &Map<String, Value>, out: &mut Map<String, Value>) {
    let few = out.get("items").and_then(|items| items.get("enum")).and_then(Value::as_array).map(|v| v.len() as u64);
    let (Some(true), Some(few)) = (object.get("uniqueItems").and_then(Value::as_bool), few) else { return };
    let most = out.get("maxItems").and_then(Value::as_u64).map_or(few, |n| n.min(few));
    out.insert("maxItems".into(), most.into());
}

/// OpenAPI's `nullable`: also allows null.
pub(super) fn allow_null(out: &mut Map<String, Value>) {
    if out.contains_key("type") || out.contains_key("enum") || out.contains_key("$ref") {
        let other = std::mem::take(out);
        out.insert("anyOf".into(), json!([other, { "type": "null" }]));
    }
}
