//! The keywords of one schema object.

use super::{SchemaError, Work, child, error, kind, ranges};
use serde_json::{Map, Value, json};

/// Types of values.
const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
/// Formats that the grammar engine knows; others are notes.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];
/// Keywords that say nothing about a value, or nothing that a grammar could impose.
const NOTES: [&str; 27] = [
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

/// A schema object in the keywords that the engine knows.
pub(super) fn object(work: &mut Work<'_>, object: &Map<String, Value>, at: &str) -> Result<Value, SchemaError> {
    let mut out = Map::new();
    // Schemas that must hold beside the others.
    let mut also = Vec::new();
    for (key, value) in object {
        let here = child(at, key);
        // Programs write null for what they leave out.
        if NOTES.contains(&key.as_str()) || value.is_null() && key != "const" {
            continue;
        }
        let new = match key.as_str() {
            "type" => types(value, &here)?,
            "enum" => values(value, &here)?,
            "const" => value.clone(),
            "$ref" => reference(work, value, &here)?,
            "$recursiveRef" | "$dynamicRef" => {
                out.insert("$ref".into(), reference(work, value, &here)?);
                continue;
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => some(work.list(value, &here)?, key, &here)?,
            "items" if value.is_array() => work.list(value, &here)?,
            "items" | "additionalItems" | "additionalProperties" => work.schema(value, &here)?,
            "properties" | "patternProperties" => work.map(value, &here)?,
            "required" => names(value, &here)?,
            "minItems" | "maxItems" | "minProperties" | "maxProperties" | "minLength" | "maxLength" => {
                count(value, &here)?
            }
            "minimum" | "maximum" | "multipleOf" if value.is_number() => value.clone(),
            "exclusiveMinimum" | "exclusiveMaximum" if value.is_number() || value.is_boolean() => value.clone(),
            "pattern" if value.is_string() => value.clone(),
            "format" if value.is_string() => {
                if !value.as_str().is_some_and(|f| FORMATS.contains(&f)) {
                    continue;
                }
                value.clone()
            }
            "minimum" | "maximum" | "multipleOf" | "exclusiveMinimum" | "exclusiveMaximum" => {
                return error(&here, format!("expected a number, not {}", kind(value)));
            }
            "pattern" | "format" => return error(&here, format!("expected a text, not {}", kind(value))),
            "not" => {
                also.extend(negated(work, value, object, &here)?);
                continue;
            }
            "dependentRequired" | "dependentSchemas" | "dependencies" => {
                also.extend(dependent(work, value, &here)?);
                continue;
            }
            "if" | "then" | "else" => {
                conditional(object, &here)?;
                continue;
            }
            "propertyNames" | "contains" | "minContains" | "maxContains" => continue, // below
            "unevaluatedProperties" | "unevaluatedItems" => {
                unevaluated(work, key, value, object, &here, &mut out)?;
                continue;
            }
            _ => continue, // somebody's own word
        };
        out.insert(key.clone(), new);
    }
    ranges::check(object, at)?;
    contains(object, at)?;
    property_names(work, object, at, &mut out)?;
    unique_items(object, &mut out);
    if object.get("nullable") == Some(&Value::Bool(true)) {
        with_null(&mut out);
    }
    if !also.is_empty() {
        let mut all = out.remove("allOf").and_then(|a| a.as_array().cloned()).unwrap_or_default();
        all.append(&mut also);
        out.insert("allOf".into(), all.into());
    }
    Ok(out.into())
}

fn types(value: &Value, at: &str) -> Result<Value, SchemaError> {
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

fn values(value: &Value, at: &str) -> Result<Value, SchemaError> {
    match value {
        Value::Array(list) if list.is_empty() => error(at, "the list is empty; no value could be chosen"),
        Value::Array(_) => Ok(value.clone()),
        other => error(at, format!("expected a list of values, not {}", kind(other))),
    }
}

fn some(list: Value, key: &str, at: &str) -> Result<Value, SchemaError> {
    match key {
        "anyOf" | "oneOf" if list.as_array().is_some_and(Vec::is_empty) => {
            error(at, "the list is empty; no schema could be met")
        }
        _ => Ok(list),
    }
}

fn reference(work: &mut Work<'_>, value: &Value, at: &str) -> Result<Value, SchemaError> {
    match value.as_str() {
        Some(text) => work.references.resolve(text, at).map(Value::from),
        None => error(at, format!("expected a text, not {}", kind(value))),
    }
}

fn names(value: &Value, at: &str) -> Result<Value, SchemaError> {
    match value {
        Value::Array(list) => match list.iter().position(|name| !name.is_string()) {
            Some(i) => error(&child(at, &i.to_string()), "expected the name of a property"),
            None => Ok(value.clone()),
        },
        other => error(at, format!("expected a list of names, not {}", kind(other))),
    }
}

/// A number of things; 5.0 is one too.
fn count(value: &Value, at: &str) -> Result<Value, SchemaError> {
    let whole = value.as_f64().filter(|x| x.fract() == 0.0 && (0.0..1e15).contains(x));
    match whole {
        Some(number) => Ok(Value::from(number as u64)),
        None => error(at, format!("expected a whole number from 0, not {value}")),
    }
}

/// `not`, where a schema without it can say the same.
fn negated(
    work: &mut Work<'_>,
    value: &Value,
    beside: &Map<String, Value>,
    at: &str,
) -> Result<Vec<Value>, SchemaError> {
    let inner: Map<String, Value> = match value {
        Value::Bool(false) => return Ok(Vec::new()),
        Value::Bool(true) => return error(at, "it forbids every value"),
        Value::Object(inner) => inner
            .iter()
            .filter(|(key, _)| !NOTES.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        other => return error(at, format!("a schema is an object or a boolean, not {}", kind(other))),
    };
    let undecided = || error(at, "a grammar cannot impose this; say with `type`, `enum` or `anyOf` what is allowed");
    let mut keys = inner.iter();
    match (keys.next(), keys.next()) {
        (None, _) => error(at, "it forbids every value"),
        (Some((key, value)), None) => match (key.as_str(), value) {
            ("type", _) => {
                types(value, &child(at, "type"))?;
                Ok(vec![json!({ "type": other_types(value) })])
            }
            ("required", Value::Array(names)) if names.len() == 1 => {
                let name = names[0].as_str().unwrap_or_default();
                Ok(vec![json!({ "properties": { name: false } })])
            }
            ("not", inner) => Ok(vec![work.schema(inner, &child(at, "not"))?]),
            ("anyOf", Value::Array(all)) => {
                let each = all.iter().map(|one| negated(work, one, beside, at)).collect::<Result<Vec<_>, _>>()?;
                Ok(each.into_iter().flatten().collect())
            }
            ("const", one) => excluded(std::slice::from_ref(one), beside).map_or_else(undecided, |s| Ok(vec![s])),
            ("enum", Value::Array(some)) => excluded(some, beside).map_or_else(undecided, |s| Ok(vec![s])),
            _ => undecided(),
        },
        _ => undecided(),
    }
}

/// The types that are none of these.
fn other_types(value: &Value) -> Vec<&'static str> {
    let is = |name: &str| match value {
        Value::Array(list) => list.iter().any(|t| t == name),
        one => one == name,
    };
    TYPES.into_iter().filter(|&t| t != "integer" && !is(t)).collect()
}

/// What is left of the listed values, or of the types, without `some`.
fn excluded(some: &[Value], beside: &Map<String, Value>) -> Option<Value> {
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
    // Values of another type than the schema takes are not there anyway.
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

/// Where one property asks for others, or for a schema.
fn dependent(work: &mut Work<'_>, value: &Value, at: &str) -> Result<Vec<Value>, SchemaError> {
    let Value::Object(entries) = value else {
        return error(at, format!("expected an object, not {}", kind(value)));
    };
    let mut all = Vec::new();
    for (name, asked) in entries {
        let here = child(at, name);
        let then = match asked {
            Value::Array(_) => json!({ "required": names(asked, &here)? }),
            schema => work.schema(schema, &here)?,
        };
        all.push(json!({ "anyOf": [{ "properties": { name: false } }, then] }));
    }
    Ok(all)
}

/// `if` needs a branch to mean something, and a branch an `if`.
fn conditional(object: &Map<String, Value>, at: &str) -> Result<(), SchemaError> {
    let has = |key: &str| object.get(key).is_some_and(|v| !v.is_null() && *v != Value::Bool(true) && *v != json!({}));
    if object.contains_key("if") && (has("then") || has("else")) {
        return error(at, "a grammar cannot impose conditions; say the cases with `anyOf`");
    }
    Ok(())
}

fn contains(object: &Map<String, Value>, at: &str) -> Result<(), SchemaError> {
    let number = |key: &str| object.get(key).and_then(Value::as_f64);
    let any = |v: &Value| v.is_null() || *v == Value::Bool(true) || *v == json!({});
    let asked = object.get("contains").is_some_and(|c| !c.is_null());
    let nothing = number("minContains") == Some(0.0) && number("maxContains").is_none();
    if asked && !nothing && !object.get("contains").is_some_and(any) {
        return error(
            &child(at, "contains"),
            "a grammar cannot impose this; say the items with `prefixItems` or `items`",
        );
    }
    Ok(())
}

/// `propertyNames` as a pattern of properties, where it says more than that names are texts.
fn property_names(
    work: &mut Work<'_>,
    object: &Map<String, Value>,
    at: &str,
    out: &mut Map<String, Value>,
) -> Result<(), SchemaError> {
    let here = child(at, "propertyNames");
    let Some(value) = object.get("propertyNames").filter(|v| !v.is_null()) else { return Ok(()) };
    let inner = match work.schema(value, &here)? {
        Value::Bool(true) => return Ok(()),
        Value::Object(inner) => inner,
        _ => {
            out.insert("maxProperties".into(), 0.into());
            return Ok(());
        }
    };
    let inner: Map<String, Value> = inner.into_iter().filter(|(k, v)| !(k == "type" && *v == "string")).collect();
    if inner.is_empty() || inner.keys().all(|k| k == "format") || out.get("additionalProperties") == Some(&false.into())
    {
        return Ok(()); // any name, or only the names that are listed
    }
    let rest = out.get("additionalProperties").cloned().unwrap_or(Value::Bool(true));
    let mut keys = inner.iter();
    let (only, more) = (keys.next(), keys.next());
    match (only, more) {
        (Some((key, Value::Array(names))), None) if key == "enum" => {
            let properties = out.entry("properties").or_insert_with(|| json!({}));
            for name in names.iter().filter_map(Value::as_str) {
                if let Some(known) = properties.as_object_mut() {
                    known.entry(name).or_insert_with(|| rest.clone());
                }
            }
        }
        (Some((key, Value::String(pattern))), None) if key == "pattern" && !out.contains_key("patternProperties") => {
            out.insert("patternProperties".into(), json!({ pattern: rest }));
        }
        _ if inner.keys().all(|k| k == "minLength" || k == "maxLength") && !out.contains_key("patternProperties") => {
            let least = inner.get("minLength").and_then(Value::as_u64).unwrap_or(0);
            let most = inner.get("maxLength").and_then(Value::as_u64).map(|n| n.to_string()).unwrap_or_default();
            out.insert("patternProperties".into(), json!({ format!("^(?s:.{{{least},{most}}})$"): rest }));
        }
        _ => {
            return error(&here, "names can be held to `enum`, `pattern`, or `minLength` and `maxLength`, one of them");
        }
    }
    out.insert("additionalProperties".into(), false.into());
    Ok(())
}

/// Items that differ cannot be more than there are values.
fn unique_items(object: &Map<String, Value>, out: &mut Map<String, Value>) {
    let few = out.get("items").and_then(|items| items.get("enum")).and_then(Value::as_array).map(|v| v.len() as u64);
    let (Some(true), Some(few)) = (object.get("uniqueItems").and_then(Value::as_bool), few) else { return };
    let most = out.get("maxItems").and_then(Value::as_u64).map_or(few, |n| n.min(few));
    out.insert("maxItems".into(), most.into());
}

/// OpenAPI's `nullable`: null is taken as well.
fn with_null(out: &mut Map<String, Value>) {
    if out.contains_key("type") || out.contains_key("enum") || out.contains_key("$ref") {
        let other = std::mem::take(out);
        out.insert("anyOf".into(), json!([other, { "type": "null" }]));
    }
}

/// What no other keyword looked at: the same as what is additional where no schema is combined with another.
fn unevaluated(
    work: &mut Work<'_>,
    key: &str,
    value: &Value,
    object: &Map<String, Value>,
    at: &str,
    out: &mut Map<String, Value>,
) -> Result<(), SchemaError> {
    let schema = work.schema(value, at)?;
    if schema == Value::Bool(true) || schema == json!({}) {
        return Ok(());
    }
    let combined = ["allOf", "anyOf", "oneOf", "$ref", "if", "not", "dependentSchemas"];
    if combined.iter().any(|k| object.contains_key(*k)) {
        return error(at, "beside combined schemas a grammar cannot impose this; list the properties in one object");
    }
    let plain = if key == "unevaluatedItems" { "items" } else { "additionalProperties" };
    if !object.contains_key(plain) {
        out.insert(plain.into(), schema);
    }
    Ok(())
}
