//! Rewrites a schema and, recursively, its parts.

use super::error::{SchemaError, child, error, kind};
use super::references::References;
use super::{keywords, property_names, ranges};
use serde_json::{Map, Value, json};

/// Maximum nesting depth of schemas.
const MAX_DEPTH: usize = 100;

/// Rewrites one schema with all its parts.
pub(super) struct Rewriter<'a> {
    /// The references found so far.
    pub(super) references: References<'a>,
    /// How deep the current schema is nested.
    depth: usize,
}

impl<'a> Rewriter<'a> {
    /// Starts with the whole schema, in which references are resolved.
    pub(super) fn new(root: &'a Value) -> Rewriter<'a> {
        Rewriter { references: References::new(root), depth: 0 }
    }

    /// Rewrites the schema at the pointer `at`.
    pub(super) fn schema(&mut self, schema: &Value, at: &str) -> Result<Value, SchemaError> {
        let object = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(object) => object,
            other => return error(at, format!("a schema is an object or a boolean, not {}", kind(other))),
        };
        if self.depth == MAX_DEPTH {
            return error(at, format!("it is nested more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let result = self.object(object, at);
        self.depth -= 1;
        result
    }

    /// Rewrites a list of schemas.
    fn list(&mut self, value: &Value, at: &str) -> Result<Value, SchemaError> {
        let Value::Array(items) = value else {
            return error(at, format!("expected a list of schemas, not {}", kind(value)));
        };
        items.iter().enumerate().map(|(i, item)| self.schema(item, &child(at, &i.to_string()))).collect()
    }

    /// Rewrites an object whose values are schemas.
    fn map(&mut self, value: &Value, at: &str) -> Result<Value, SchemaError> {
        let Value::Object(entries) = value else {
            return error(at, format!("expected an object of schemas, not {}", kind(value)));
        };
        let part = |(key, value): (&String, &Value)| Ok((key.clone(), self.schema(value, &child(at, key))?));
        Ok(Value::Object(entries.iter().map(part).collect::<Result<_, _>>()?))
    }

    /// Rewrites a schema object.
    fn object(&mut self, object: &Map<String, Value>, at: &str) -> Result<Value, SchemaError> {
        let mut out = Map::new();
        // Schemas that must hold in addition to the others.
        let mut also = Vec::new();
        for (key, value) in object {
            // Programs write null for fields without a value.
            if !keywords::is_annotation(key) && (!value.is_null() || key == "const") {
                self.keyword(key, value, object, &child(at, key), &mut out, &mut also)?;
            }
        }
        ranges::check(object, at)?;
        keywords::check_contains(object, at)?;
        let here = child(at, "propertyNames");
        if let Some(names) = object.get("propertyNames").filter(|v| !v.is_null()) {
            property_names::add(self.schema(names, &here)?, &here, &mut out)?;
        }
        keywords::limit_unique_items(object, &mut out);
        if object.get("nullable") == Some(&Value::Bool(true)) {
            keywords::allow_null(&mut out);
        }
        if !also.is_empty() {
            let mut all = out.remove("allOf").and_then(|a| a.as_array().cloned()).unwrap_or_default();
            all.append(&mut also);
            out.insert("allOf".into(), all.into());
        }
        Ok(out.into())
    }

    /// Rewrites one keyword of `object`: adds to the keywords of `out`, or to the schemas that must hold `also`.
    fn keyword(
        &mut self,
        key: &str,
        value: &Value,
        object: &Map<String, Value>,
        at: &str,
        out: &mut Map<String, Value>,
        also: &mut Vec<Value>,
    ) -> Result<(), SchemaError> {
        let new = match key {
            "$ref" => self.reference(value, at)?,
            "$recursiveRef" | "$dynamicRef" => {
                out.insert("$ref".into(), self.reference(value, at)?);
                return Ok(());
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => keywords::alternatives(self.list(value, at)?, key, at)?,
            "items" if value.is_array() => self.list(value, at)?,
            "items" | "additionalItems" | "additionalProperties" => self.schema(value, at)?,
            "properties" | "patternProperties" => self.map(value, at)?,
            "not" => {
                also.extend(self.negated(value, object, at)?);
                return Ok(());
            }
            "dependentRequired" | "dependentSchemas" | "dependencies" => {
                also.extend(self.dependent(value, at)?);
                return Ok(());
            }
            "if" | "then" | "else" => return keywords::check_conditional(object, at),
            "unevaluatedProperties" | "unevaluatedItems" => return self.unevaluated(key, value, object, at, out),
            _ => match keywords::simple(key, value, at)? {
                Some(new) => new,
                None => return Ok(()),
            },
        };
        out.insert(key.to_owned(), new);
        Ok(())
    }

    /// Rewrites a reference.
    fn reference(&mut self, value: &Value, at: &str) -> Result<Value, SchemaError> {
        match value.as_str() {
            Some(text) => self.references.resolve(text, at).map(Value::from),
            None => error(at, format!("expected a string, not {}", kind(value))),
        }
    }

    /// Rewrites `not` to schemas without it, if possible.
    fn negated(&mut self, value: &Value, beside: &Map<String, Value>, at: &str) -> Result<Vec<Value>, SchemaError> {
        let inner: Map<String, Value> = match value {
            Value::Bool(false) => return Ok(Vec::new()),
            Value::Bool(true) => return error(at, "it forbids every value"),
            Value::Object(inner) => inner
                .iter()
                .filter(|(key, _)| !keywords::is_annotation(key))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            other => return error(at, format!("a schema is an object or a boolean, not {}", kind(other))),
        };
        let undecided =
            || error(at, "a grammar cannot enforce this; list what is allowed with `type`, `enum` or `anyOf`");
        let mut keys = inner.iter();
        match (keys.next(), keys.next()) {
            (None, _) => error(at, "it forbids every value"),
            (Some((key, value)), None) => match (key.as_str(), value) {
                ("type", _) => {
                    keywords::types(value, &child(at, "type"))?;
                    Ok(vec![json!({ "type": keywords::other_types(value) })])
                }
                ("required", Value::Array(names)) if names.len() == 1 => {
                    let name = names[0].as_str().unwrap_or_default();
                    Ok(vec![json!({ "properties": { name: false } })])
                }
                ("not", inner) => Ok(vec![self.schema(inner, &child(at, "not"))?]),
                ("anyOf", Value::Array(all)) => {
                    let each = all.iter().map(|one| self.negated(one, beside, at)).collect::<Result<Vec<_>, _>>()?;
                    Ok(each.into_iter().flatten().collect())
                }
                ("const", one) => {
                    keywords::excluded(std::slice::from_ref(one), beside).map_or_else(undecided, |s| Ok(vec![s]))
                }
                ("enum", Value::Array(some)) => {
                    keywords::excluded(some, beside).map_or_else(undecided, |s| Ok(vec![s]))
                }
                _ => undecided(),
            },
            _ => undecided(),
        }
    }

    /// Rewrites keywords that require properties, or a schema, if a property is present.
    fn dependent(&mut self, value: &Value, at: &str) -> Result<Vec<Value>, SchemaError> {
        let Value::Object(entries) = value else {
            return error(at, format!("expected an object, not {}", kind(value)));
        };
        let mut all = Vec::new();
        for (name, asked) in entries {
            let here = child(at, name);
            let then = match asked {
                Value::Array(_) => json!({ "required": keywords::names(asked, &here)? }),
                schema => self.schema(schema, &here)?,
            };
            all.push(json!({ "anyOf": [{ "properties": { name: false } }, then] }));
        }
        Ok(all)
    }

    /// Rewrites `unevaluatedProperties` and `unevaluatedItems`. Without combined schemas they mean the same as
    /// `additionalProperties` and `items`.
    fn unevaluated(
        &mut self,
        key: &str,
        value: &Value,
        object: &Map<String, Value>,
        at: &str,
        out: &mut Map<String, Value>,
    ) -> Result<(), SchemaError> {
        let schema = self.schema(value, at)?;
        if schema == Value::Bool(true) || schema == json!({}) {
            return Ok(());
        }
        let combined = ["allOf", "anyOf", "oneOf", "$ref", "if", "not", "dependentSchemas"];
        if combined.iter().any(|k| object.contains_key(*k)) {
            return error(
                at,
                "a grammar cannot enforce this next to combined schemas; list the properties in one object",
            );
        }
        let plain = if key == "unevaluatedItems" { "items" } else { "additionalProperties" };
        if !object.contains_key(plain) {
            out.insert(plain.into(), schema);
        }
        Ok(())
    }
}
