//! `propertyNames`.

use super::error::{SchemaError, error};
use serde_json::{Map, Value, json};

/// Expresses `propertyNames` as properties or a pattern of properties, unless it allows all names. `names` is its
/// rewritten schema, `here` its JSON pointer, `out` the rewritten keywords of the object so far.
pub(super) fn add(names: Value, here: &str, out: &mut Map<String, Value>) -> Result<(), SchemaError> {
    let inner = match names {
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
        return Ok(()); // all names are allowed, or only the listed ones
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
            return error(
                here,
                "names can be restricted only by `enum`, by `pattern`, or by `minLength` and `maxLength`",
            );
        }
    }
    out.insert("additionalProperties".into(), false.into());
    Ok(())
}
