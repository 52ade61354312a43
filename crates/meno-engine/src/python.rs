//! Values written as Python writes them, for templates that print or serialise them.

use serde_json::Value;
use std::fmt::Write;

/// `repr(float)`: the shortest digits that read back, an exponent outside 1e-4..1e16.
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

/// `json.dumps(value, ensure_ascii=False, indent=indent)`.
pub(crate) fn json_dumps(value: &Value, indent: Option<usize>) -> String {
    let mut out = String::new();
    dump(&mut out, value, indent, 0);
    out
}

fn dump(out: &mut String, value: &Value, indent: Option<usize>, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => number(out, n),
        Value::String(s) => json_string(out, s),
        Value::Array(items) => {
            items_between(out, ['[', ']'], items.len(), indent, depth, |out, i| {
                dump(out, &items[i], indent, depth + 1)
            });
        }
        Value::Object(map) => {
            let entries: Vec<_> = map.iter().collect();
            items_between(out, ['{', '}'], entries.len(), indent, depth, |out, i| {
                json_string(out, entries[i].0);
                out.push_str(": ");
                dump(out, entries[i].1, indent, depth + 1);
            });
        }
    }
}

fn items_between(
    out: &mut String,
    [open, close]: [char; 2],
    count: usize,
    indent: Option<usize>,
    depth: usize,
    mut item: impl FnMut(&mut String, usize),
) {
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    out.push(open);
    for i in 0..count {
        if i > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(out, depth + 1);
        item(out, i);
    }
    if count > 0 {
        line(out, depth);
    }
    out.push(close);
}

fn json_string(out: &mut String, s: &str) {
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
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// `str(value)` for what is printed: strings as they are, everything inside containers as `repr`.
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
            items_between(out, ['[', ']'], items.len(), None, 0, |out, i| repr(out, &items[i]));
        }
        Value::Object(map) => {
            let entries: Vec<_> = map.iter().collect();
            items_between(out, ['{', '}'], entries.len(), None, 0, |out, i| {
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

    /// Right-hand sides printed by Python 3.11.
    #[test]
    fn as_python_prints() {
        let v = json!({"a": [1, 2.0, 1e-7, 1e22, true, null], "b": {}, "c": [], "d": "x\"y'\n\u{1}中"});
        assert_eq!(
            json_dumps(&v, None),
            r#"{"a": [1, 2.0, 1e-07, 1e+22, true, null], "b": {}, "c": [], "d": "x\"y'\n\u0001中"}"#
        );
        assert_eq!(json_dumps(&json!({"a": [1], "b": {}}), Some(2)), "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}");
        assert_eq!(display(&v), r#"{'a': [1, 2.0, 1e-07, 1e+22, True, None], 'b': {}, 'c': [], 'd': 'x"y\'\n\x01中'}"#);
        assert_eq!(display(&json!("it's")), "it's");
        assert_eq!(display(&json!(["it's"])), "[\"it's\"]");
        assert_eq!(display(&json!([0.0001, 123456789012345680.0])), "[0.0001, 1.2345678901234568e+17]");
    }
}
