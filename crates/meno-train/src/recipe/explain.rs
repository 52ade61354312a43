//! Readable errors of recipes: the line, and what was probably meant.

use meno_model::plain::plain;

/// Maximum number of characters of a line in an error.
const MAX_SOURCE: usize = 80;

/// Formats an error of the TOML parser for display: the affected line of `text` and, for an unknown key, the most
/// similar known keys. `text` is the file that was read.
pub fn explain(e: &toml::de::Error, text: &str) -> String {
    let message = plain(&with_suggestion(e.message()));
    match e.span() {
        Some(span) => {
            let line = text[..span.start.min(text.len())].matches('\n').count();
            let source = text.lines().nth(line).unwrap_or_default().trim();
            let shown: String = source.chars().take(MAX_SOURCE).collect();
            let more = if shown.len() < source.len() { " …" } else { "" };
            format!("line {}: {message}, in `{shown}{more}`", line + 1)
        }
        None => message,
    }
}

/// Adds the most similar known names to "unknown field `x`, expected one of `a`, `b`".
pub(super) fn with_suggestion(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field ").or_else(|| message.strip_prefix("unknown variant ")) else {
        return message.to_owned();
    };
    let mut names = rest.split('`').skip(1).step_by(2).map(str::to_owned);
    let Some(unknown) = names.next() else { return message.to_owned() };
    let known: Vec<String> = names.collect();
    let what = if message.starts_with("unknown field") { "key" } else { "value" };
    let all = known.join(", ");
    format!("unknown {what} `{unknown}`{}; expected one of: {all}", near(&unknown, &known))
}

/// Returns "; did you mean `x`?" for names similar to `unknown`.
pub fn near(unknown: &str, known: &[String]) -> String {
    let mut close: Vec<(usize, &String)> = known.iter().map(|k| (strsim::levenshtein(unknown, k), k)).collect();
    close.sort();
    let limit = (unknown.len() / 3).max(2);
    let close: Vec<String> = close.iter().filter(|(d, _)| *d <= limit).take(3).map(|(_, k)| format!("`{k}`")).collect();
    if close.is_empty() { String::new() } else { format!("; did you mean {}?", close.join(" or ")) }
}
