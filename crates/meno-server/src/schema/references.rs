//! `$ref`: every target becomes a definition with a simple name.

use super::error::{SchemaError, child, error};
use serde_json::Value;
use std::collections::BTreeMap;

/// Maximum depth of values in which anchors are found.
const MAX_ANCHOR_DEPTH: usize = 200;

/// The references in one schema and their targets.
pub(super) struct References<'a> {
    root: &'a Value,
    /// The pointers of parts that have a name (`$anchor`, `$id`).
    anchors: BTreeMap<String, String>,
    /// The names of definitions, by pointer.
    names: BTreeMap<String, String>,
    /// The pointers of definitions that are not rewritten yet.
    wanted: Vec<String>,
}

impl<'a> References<'a> {
    pub(super) fn new(root: &'a Value) -> References<'a> {
        let mut anchors = BTreeMap::new();
        find_anchors(root, "", 0, &mut anchors);
        References { root, anchors, names: BTreeMap::new(), wanted: Vec::new() }
    }

    /// Returns the new reference for `reference` at the pointer `at`.
    pub(super) fn resolve(&mut self, reference: &str, at: &str) -> Result<String, SchemaError> {
        let pointer = self.pointer(reference);
        let found = pointer.filter(|p| self.root.pointer(p).is_some());
        let Some(pointer) = found else {
            let what = if reference.starts_with('#') || self.anchors.is_empty() && !reference.contains("://") {
                "does not exist in this schema"
            } else {
                "is not in this schema, and other schemas are not fetched"
            };
            return error(at, format!("{reference:?} {what}"));
        };
        if let Some(name) = self.names.get(&pointer) {
            return Ok(format!("#/$defs/{name}"));
        }
        let last = pointer.rsplit('/').next().unwrap_or_default();
        let plain: String = last.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect();
        let name = format!("{}_{}", if plain.is_empty() { "root" } else { &plain }, self.names.len());
        self.names.insert(pointer.clone(), name.clone());
        self.wanted.push(pointer);
        Ok(format!("#/$defs/{name}"))
    }

    /// Returns the next definition to rewrite: its name, pointer and schema.
    pub(super) fn next_wanted(&mut self) -> Option<(String, String, Value)> {
        let pointer = self.wanted.pop()?;
        let target = self.root.pointer(&pointer)?.clone();
        Some((self.names.get(&pointer)?.clone(), pointer, target))
    }

    fn pointer(&self, reference: &str) -> Option<String> {
        if let Some(pointer) = self.anchors.get(reference) {
            return Some(pointer.clone());
        }
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = if base.is_empty() { "" } else { self.anchors.get(base)?.as_str() };
        match fragment {
            "" | "/" => Some(base.to_owned()),
            path if path.starts_with('/') => Some(base.to_owned() + &percent_decoded(path)),
            _ => None,
        }
    }
}

/// Collects the names of parts: `$anchor`, and `$id` (or `id` in draft 4).
fn find_anchors(value: &Value, at: &str, depth: usize, anchors: &mut BTreeMap<String, String>) {
    if depth > MAX_ANCHOR_DEPTH {
        return;
    }
    match value {
        Value::Object(object) => {
            for key in ["$anchor", "$dynamicAnchor"] {
                if let Some(name) = object.get(key).and_then(Value::as_str) {
                    anchors.entry(format!("#{name}")).or_insert_with(|| at.to_owned());
                }
            }
            if let Some(name) = object.get("$id").or(object.get("id")).and_then(Value::as_str) {
                anchors.entry(name.trim_end_matches('#').to_owned()).or_insert_with(|| at.to_owned());
            }
            object.iter().for_each(|(key, value)| find_anchors(value, &child(at, key), depth + 1, anchors));
        }
        Value::Array(items) => {
            let each = |(i, item): (usize, &Value)| find_anchors(item, &child(at, &i.to_string()), depth + 1, anchors);
            items.iter().enumerate().for_each(each);
        }
        _ => {}
    }
}

fn percent_decoded(text: &str) -> String {
    let (bytes, mut out, mut i) = (text.as_bytes(), Vec::new(), 0);
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| bytes.get(i + 1..i + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}
