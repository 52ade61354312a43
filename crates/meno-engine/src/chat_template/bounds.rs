//! Limits on values that minijinja's fuel does not cover: nested and repeated lists.
//!
//! In minijinja, `l + l` is lazy and `[l, l]` holds one list twice, so a few steps can build a value that exhausts
//! memory when it is printed or compared. A namespace may contain itself. Dropping deeply nested lists uses one stack
//! frame per level.
//!
//! Therefore every expression of a template that can build such a value is wrapped in a filter that measures it.
//! [`with_checks`] wraps lists, maps, sums and assignments; [`guards`](super::guards) covers the results of filters,
//! functions and methods.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value, machinery};
use serde_json::Value as Json;

/// Maximum number of nodes in one value, counted as often as they occur; its maximum depth; and the maximum size of all
/// its texts, in bytes.
const MAX_NODES: u64 = 1 << 18;
const MAX_DEPTH: u64 = 64;
pub(super) const MAX_BYTES: u64 = 16 << 20;
/// Nodes measured per step of the interpreter.
const NODES_PER_STEP: u64 = 16;

/// Bytes compared or searched per step of the interpreter.
const BYTES_PER_STEP: u64 = 64;

const CHECKED: &str = "_checked";
const STORED: &str = "_stored";
const COMPARED: &str = "_compared";
const READ: &str = "_read";

/// Adds the filters that [`with_checks`] calls.
pub(super) fn add_filters(env: &mut Environment<'static>) {
    env.add_filter(CHECKED, |state: &State, value: Value| checked(state, value, true));
    env.add_filter(STORED, |state: &State, value: Value| checked(state, value, false));
    env.add_filter(COMPARED, |state: &State, value: Value| pay(state, &value).map(|()| value));
    env.add_filter(READ, |state: &State, value: Value| pay_text(state, &value).map(|()| value));
}

/// Returns the template with the filters inserted: `((a + b)|_checked)`.
pub(super) fn with_checks(source: &str, syntax: SyntaxConfig) -> Result<String, Error> {
    let refuse = |e: String| Error::new(ErrorKind::SyntaxError, e);
    let tree = machinery::parse(source, "template", syntax)?;
    let tree = serde_json::to_value(&tree).map_err(|e| refuse(e.to_string()))?;
    let mut measured = Vec::new();
    find(&tree, source, None, &mut measured);
    // If several expressions begin or end at one position, the longest one begins first and ends last.
    let begins = measured.iter().map(|m| (m.start, m.start + m.end, " ((".to_owned()));
    let ends = measured.iter().map(|m| (m.end, usize::MAX - m.start, format!(")|{}) ", m.filter)));
    let mut inserted: Vec<_> = begins.chain(ends).collect();
    inserted.sort_by_key(|i| (i.0, i.1));
    let (mut text, mut done) = (String::new(), 0);
    for (at, _, what) in inserted {
        text += source.get(done..at).ok_or_else(|| refuse(format!("no place at {at}")))?;
        text += &what;
        done = at;
    }
    Ok(text + &source[done..])
}

/// An expression to wrap in a filter.
struct Measured {
    start: usize,
    end: usize,
    filter: &'static str,
}

/// Finds the expressions to measure. The syntax tree has serde's format: `{"expr": kind, "inner": [node, span]}`. `sum`
/// is the start of the enclosing sum: of `a + b + c`, only the whole is measured.
fn find(tree: &Json, source: &str, sum: Option<usize>, found: &mut Vec<Measured>) {
    match tree {
        Json::Array(items) => items.iter().for_each(|item| find(item, source, sum, found)),
        Json::Object(object) => {
            let (start, end) = span(tree);
            let node = &tree["inner"][0];
            let is_sum = matches!(node["op"].as_str(), Some("Add" | "Mul"));
            let measured = match tree["expr"].as_str() {
                Some("BinOp") => is_sum && sum != Some(start),
                Some("List" | "Map") => true,
                // The span of a tuple without brackets begins too late.
                Some("Tuple") => node["items"].as_array().and_then(|i| i.first()).is_some_and(|i| span(i).0 > start),
                _ => false,
            };
            if measured {
                found.push(Measured { start, end, filter: CHECKED });
            }
            operands(tree, found);
            if tree["stmt"] == "Set" {
                assigned(node, source, found);
            }
            let sum = if is_sum { Some(start) } else { sum };
            object.iter().filter(|(key, _)| *key != "target").for_each(|(_, v)| find(v, source, sum, found));
        }
        _ => {}
    }
}

/// Finds operands that are compared, searched or split, which takes time proportional to their length. Literals are
/// short, so they are skipped.
fn operands(tree: &Json, found: &mut Vec<Measured>) {
    let node = &tree["inner"][0];
    let mut measure = |operand: &Json, filter| {
        // The span of `a.b` begins at the dot.
        let (start, end) = (first_byte(operand), span(operand).1);
        if operand["expr"] != "Const" && operand["expr"].is_string() && start < end {
            found.push(Measured { start, end, filter });
        }
    };
    match tree["expr"].as_str() {
        Some("BinOp") => match node["op"].as_str() {
            Some("Eq" | "Ne" | "Lt" | "Lte" | "Gt" | "Gte") => {
                measure(&node["left"], COMPARED);
                measure(&node["right"], COMPARED);
            }
            Some("In") => {
                measure(&node["left"], COMPARED);
                // Maps are not searched linearly, and a list costs a step per item.
                measure(&node["right"], READ);
            }
            _ => {}
        },
        Some("Compare") => {
            measure(&node["expr"], COMPARED);
            node["ops"].as_array().into_iter().flatten().for_each(|op| measure(&op["expr"], COMPARED));
        }
        Some("GetItem" | "Slice") => measure(&node["expr"], READ),
        _ => {}
    }
}

/// Finds the value of `{% set a = b %}`: everything between the `=` and the end of the block, because spans exclude
/// brackets.
fn assigned(set: &Json, source: &str, found: &mut Vec<Measured>) {
    let (_, target) = span(&set["target"]);
    let last = last_byte(&set["expr"]);
    let sign = source.get(target..).and_then(|s| s.find('='));
    let close = source.get(last..).and_then(|s| s.find("%}"));
    if let (Some(sign), Some(close)) = (sign, close) {
        let end = source[..last + close].trim_end_matches(['-', '+']).len();
        let filter = if set["target"]["expr"] == "GetAttr" { STORED } else { CHECKED };
        found.push(Measured { start: target + sign + 1, end, filter });
    }
}

fn span(tree: &Json) -> (usize, usize) {
    let at = |key: &str| tree["inner"][1][key].as_u64().unwrap_or(0) as usize;
    (at("start_offset"), at("end_offset"))
}

fn within(tree: &Json) -> Vec<&Json> {
    match tree {
        Json::Array(items) => items.iter().collect(),
        Json::Object(object) => object.values().collect(),
        _ => Vec::new(),
    }
}

fn first_byte(tree: &Json) -> usize {
    let own = if tree["inner"][1].is_object() { span(tree).0 } else { usize::MAX };
    within(tree).into_iter().map(first_byte).min().unwrap_or(usize::MAX).min(own)
}

fn last_byte(tree: &Json) -> usize {
    within(tree).into_iter().map(last_byte).max().unwrap_or(0).max(span(tree).1)
}

/// Returns the value if it is not too large. Lazy lists are turned into real ones.
pub(super) fn checked(state: &State, value: Value, may_be_namespace: bool) -> Result<Value, Error> {
    let refuse = |what: &str| Err(Error::new(ErrorKind::InvalidOperation, what.to_owned()));
    let value = match value.kind() {
        ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.take(MAX_NODES as usize).collect();
            Value::from(items)
        }
        ValueKind::Seq | ValueKind::Map => value,
        _ => return Ok(value),
    };
    if is_namespace(&value) && !may_be_namespace {
        return refuse("a namespace cannot be kept in a namespace");
    }
    size(state, &value)?;
    Ok(value)
}

/// The size of a value, including everything that it contains.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    /// Number of values, including itself.
    pub(super) nodes: u64,
    /// Total size of the texts, in bytes.
    pub(super) bytes: u64,
    /// Nesting depth of lists and maps.
    pub(super) depth: u64,
}

/// Charges fuel for reading the whole value once.
pub(super) fn pay(state: &State, value: &Value) -> Result<(), Error> {
    pay_times(state, value, 1)
}

/// Charges fuel for reading the whole value `times` times. The value is measured once.
pub(super) fn pay_times(state: &State, value: &Value, times: u64) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map => {
            // `size` has already charged for the first read of the nodes.
            let size = size(state, value)?;
            state.consume_fuel((times - 1) * (size.nodes / NODES_PER_STEP) + times * (size.bytes / BYTES_PER_STEP))
        }
        _ => (0..times).try_for_each(|_| pay_text(state, value)),
    }
}

/// Charges fuel for reading the texts among the arguments of a call.
pub(super) fn pay_texts(state: &State, args: &[Value]) -> Result<(), Error> {
    args.iter().try_for_each(|arg| pay_text(state, arg))
}

/// Charges fuel for reading the whole text.
pub(super) fn pay_text(state: &State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => state.consume_fuel(text.len() as u64 / BYTES_PER_STEP),
        None => Ok(()),
    }
}

/// Measures a value; fails if it is too large.
pub(super) fn size(state: &State, value: &Value) -> Result<Size, Error> {
    let mut size = Size::default();
    let whole = measure(value, 0, &mut size);
    state.consume_fuel(size.nodes / NODES_PER_STEP)?;
    whole.map_err(|what| Error::new(ErrorKind::InvalidOperation, what.to_owned()))?;
    Ok(size)
}

/// Adds the nodes, bytes and depth of a value to `size`.
fn measure(value: &Value, depth: u64, size: &mut Size) -> Result<(), &'static str> {
    size.nodes += 1;
    size.depth = size.depth.max(depth);
    size.bytes += value.as_str().map_or(0, |text| text.len() as u64);
    if depth > 0 && size.bytes > MAX_BYTES {
        return Err("a list or map has too much text");
    }
    let map = match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => false,
        ValueKind::Map => true,
        _ => return Ok(()),
    };
    if size.nodes >= MAX_NODES || depth == MAX_DEPTH {
        return Err("a list or map is too large, or nested too deeply");
    }
    if depth > 0 && is_namespace(value) {
        return Err("a namespace cannot be kept in a list or map");
    }
    let Ok(items) = value.try_iter() else { return Ok(()) };
    for item in items {
        if map {
            size.bytes += item.as_str().map_or(0, |key| key.len() as u64);
            measure(&value.get_item(&item).unwrap_or_default(), depth + 1, size)?;
        } else {
            measure(&item, depth + 1, size)?;
        }
    }
    Ok(())
}

fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

/// Converts a value to JSON; `None` if it has no JSON form.
pub(super) fn json(state: &State, value: &Value) -> Result<Option<Json>, Error> {
    let value = checked(state, value.clone(), true)?;
    Ok(serde_json::to_value(&value).ok())
}
