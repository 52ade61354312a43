//! Jinja configured as in transformers (`utils/chat_template_utils.py`), on top of minijinja.

use super::{bounds, guards};
use crate::clock::strftime_now;
use crate::python::{self, Dumps};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use regex::Regex;

/// Steps of the template interpreter; producing 64 bytes costs one step. The longest published templates take a few
/// thousand per turn. This limits the output to 256 MiB.
const FUEL: u64 = 4 << 20;
/// Maximum length of an error message, in characters.
const MAX_MESSAGE: usize = 1000;
/// Maximum depth of macro and include calls.
const MAX_RECURSION: usize = 100;

/// The template syntax that transformers uses.
pub(super) fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    syntax.expect("invariant: the default delimiters are well formed")
}

/// Creates the environment of a chat template.
pub(super) fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_syntax(syntax());
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(MAX_RECURSION);
    env.set_unknown_method_callback(guards::method);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_formatter(|out, state, value| match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            match bounds::json(state, value)? {
                Some(json) => Ok(out.write_str(&python::display(&json))?),
                None => minijinja::escape_formatter(out, state, value),
            }
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    env.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    env.add_function("strftime_now", |format: String| strftime_now(&format));
    env.add_filter("tojson", tojson);
    // minijinja treats `none` as iterable. Templates use this test to check whether tools are given.
    env.add_test("iterable", |value: Value| !value.is_none() && value.try_iter().is_ok());
    env.add_filter("string", |state: &State, value: Value| match bounds::json(state, &value)? {
        Some(json) if !value.is_undefined() => Ok(python::display(&json)),
        _ => Ok::<String, Error>(value.to_string()),
    });
    bounds::add_filters(&mut env);
    guards::add(&mut env);
    env
}

/// transformers' `tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`: it is `json.dumps`
/// without HTML escapes.
fn tojson(
    state: &State,
    value: Value,
    ensure_ascii: Option<bool>,
    indent: Option<Value>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let wrong = |what: &str| Error::new(ErrorKind::InvalidOperation, format!("tojson: {what}"));
    let indent = match kwargs.get::<Option<Value>>("indent")?.or(indent).filter(|v| !v.is_none()) {
        None => None,
        Some(value) => Some(match (value.as_str(), usize::try_from(value.clone())) {
            (Some(text), _) => text.to_owned(),
            (_, Ok(spaces)) if spaces <= 64 => " ".repeat(spaces),
            _ => return Err(wrong("indent must be a string or a number up to 64")),
        }),
    };
    let separators = match kwargs.get::<Option<Vec<String>>>("separators")? {
        None => None,
        Some(pair) => Some(pair.try_into().map_err(|_| wrong("separators must be two strings"))?),
    };
    let dumps = Dumps {
        indent,
        separators,
        ensure_ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.or(ensure_ascii).unwrap_or(false),
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "tojson of an undefined value"));
    }
    guards::json_fits(state, &value, &dumps)?;
    let json = bounds::json(state, &value)?;
    json.map(|json| dumps.text(&json))
        .ok_or_else(|| Error::new(ErrorKind::BadSerialization, "tojson of a value that is not JSON"))
}

/// `{% generation %}` marks the assistant's tokens for training masks. Here it is only a scope.
pub(super) fn without_generation_tags(source: &str) -> String {
    let tag = |pattern: &str| Regex::new(pattern).expect("invariant: the pattern is well formed");
    let open = tag(r"\{%([-+]?)\s*generation\s*([-+]?)%\}");
    let close = tag(r"\{%([-+]?)\s*endgeneration\s*([-+]?)%\}");
    let opened = open.replace_all(source, "{%$1 with $2%}");
    close.replace_all(&opened, "{%$1 endwith $2%}").into_owned()
}

/// Formats an error and its causes in one line.
pub(super) fn describe(error: &Error) -> String {
    let mut text = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("it took more than {FUEL} steps: it loops, or the input is too long"),
        (_, Some(detail)) => detail.to_owned(),
        (kind, None) => kind.to_string(),
    };
    if let Some(line) = error.line() {
        text.push_str(&format!(" (line {line})"));
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    // A template may raise an arbitrarily long text.
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
