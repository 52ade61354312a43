//! Values formatted as in Python, for templates that print or serialize them.

use serde_json::Value;
use std::fmt::Write;

/// `repr(float)`: the shortest digits that parse back to the same value, with an exponent outside 1e-4..1e16.
fn float(out: &mut String, x: f64) {
    let magnitude = x.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{x:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |e| ("-", e));
        let _ = write!(out, "{digits}e{sign}{exponent:0>2}");
    } else {
        let _ = write!(out, "{x:?}");
    }
}

fn number(out: &mut String, n: &serde_json::Number) {
    match (n.is_f64(), n.as_f64()) {
        (true, Some(x)) => float(out, x),
        _ => {
            let _ = write!(out, "{n}");
        }
    }
}

/// The options of `json.dumps`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dumps {
    /// Indentation of each level; `None` writes everything in one line.
    pub indent: Option<String>,
    /// The separators between items and after a key.
    pub separators: Option<[String; 2]>,
    /// Escape everything except ASCII.
    pub ensure_ascii: bool,
    /// Sort the keys of objects.
    pub sort_keys: bool,
}

impl Dumps {
    /// `json.dumps(value, …)`.
    pub(crate) fn text(&self, value: &Value) -> String {
        let mut out = String::new();
        self.dump(&mut out, value, 0);
        out
    }

    fn dump(&self, out: &mut String, value: &Value, depth: usize) {
        match value {
            Value::Null => out.push_str("null"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Number(n) => number(out, n),
            Value::String(s) => json_string(out, s, self.ensure_ascii),
            Value::Array(items) => {
                self.items(out, ['[', ']'], depth, items.len(), |out, i| self.dump(out, &items[i], depth + 1));
            }
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                if self.sort_keys {
                    entries.sort_by_key(|e| e.0);
                }
                self.items(out, ['{', '}'], depth, entries.len(), |out, i| {
                    json_string(out, entries[i].0, self.ensure_ascii);
                    out.push_str(self.separators.as_ref().map_or(": ", |s| &s[1]));
                    self.dump(out, entries[i].1, depth + 1);
                });
            }
        }
    }

    fn items(
        &self,
        out: &mut String,
        [open, close]: [char; 2],
        depth: usize,
        count: usize,
        mut item: impl FnMut(&mut String, usize),
    ) {
        let line = |out: &mut String, depth: usize| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                out.extend(std::iter::repeat_n(indent.as_str(), depth));
            }
        };
        let separator = match &self.separators {
            Some(separators) => &separators[0],
            None if self.indent.is_some() => ",",
            None => ", ",
        };
        out.push(open);
        for i in 0..count {
            if i > 0 {
                out.push_str(separator);
            }
            line(out, depth + 1);
            item(out, i);
        }
        if count > 0 {
            line(out, depth);
        }
        out.push(close);
    }
}

fn json_string(out: &mut String, s: &str, ensure_ascii: bool) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (ensure_ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// `str(value)` as printed: strings unchanged, everything inside containers as `repr`.
pub(crate) fn display(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        _ => {
            let mut out = String::new();
            repr(&mut out, value);
            out
        }
    }
}

fn repr(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
        Value::Number(n) => number(out, n),
        Value::String(s) => repr_string(out, s),
        Value::Array(items) => {
            Dumps::default().items(out, ['[', ']'], 0, items.len(), |out, i| repr(out, &items[i]));
        }
        Value::Object(map) => {
            let entries: Vec<_> = map.iter().collect();
            Dumps::default().items(out, ['{', '}'], 0, entries.len(), |out, i| {
                repr_string(out, entries[i].0);
                out.push_str(": ");
                repr(out, entries[i].1);
            });
        }
    }
}

fn repr_string(out: &mut String, s: &str) {
    let quote = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in s.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The right-hand sides were printed by Python 3.11.
    #[test]
    fn as_python_prints() {
        let v = json!({"a": [1, 2.0, 1e-7, 1e22, true, null], "b": {}, "c": [], "d": "x\"y'\n\u{1}中"});
        assert_eq!(
            Dumps::default().text(&v),
            r#"{"a": [1, 2.0, 1e-07, 1e+22, true, null], "b": {}, "c": [], "d": "x\"y'\n\u0001中"}"#
        );
        let indented = Dumps { indent: Some("  ".into()), ..Dumps::default() };
        assert_eq!(indented.text(&json!({"a": [1], "b": {}})), "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}");
        let all = Dumps {
            indent: Some("\t".into()),
            separators: Some([";".into(), "=".into()]),
            ensure_ascii: true,
            sort_keys: true,
        };
        assert_eq!(
            all.text(&json!({"b": "é😀\u{7f}", "a": [1, 2]})),
            "{\n\t\"a\"=[\n\t\t1;\n\t\t2\n\t];\n\t\"b\"=\"\\u00e9\\ud83d\\ude00\u{7f}\"\n}"
        );
        assert_eq!(display(&v), r#"{'a': [1, 2.0, 1e-07, 1e+22, True, None], 'b': {}, 'c': [], 'd': 'x"y\'\n\x01中'}"#);
        assert_eq!(display(&json!("it's")), "it's");
        assert_eq!(display(&json!(["it's"])), "[\"it's\"]");
        assert_eq!(display(&json!([0.0001, 123456789012345680.0])), "[0.0001, 1.2345678901234568e+17]");
    }
}
