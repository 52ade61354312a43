//! Answers in `\boxed{…}`: finds the boxes, groups related boxes, and discards boxes that do not count.

use super::around::{Affixes, affixes, affixes_of_list};
use super::denial::{denied_after, denied_before};
use super::extracted::{Extracted, Marker};
use super::text::{tail_of, words};
use crate::verify::math::reading;

/// Maximum distance between two boxes of one answer, in bytes.
const BETWEEN_BOXES: usize = 100;
/// Maximum number of boxes in one answer.
const MAX_BOXES: usize = 64;

/// A box in a text.
pub(super) struct Boxed<'a> {
    pub(super) inner: &'a str,
    /// Start and end.
    at: (usize, usize),
}

/// All outermost boxes. `None` if one is not closed.
pub(super) fn boxes(text: &str) -> Option<Vec<Boxed<'_>>> {
    let mut found = Vec::new();
    let comments = text.contains('%') || text.contains("<!--");
    let mut from = 0;
    while let Some(at) = text[from..].find('\\').map(|i| from + i) {
        let name = ["\\boxed", "\\fbox"].into_iter().find(|n| text[at..].starts_with(n));
        let Some(name) = name else {
            from = at + 1;
            continue;
        };
        if comments && is_comment(&text[..at]) {
            from = at + 1;
            continue;
        }
        let after = at + name.len();
        let space = text[after..].len() - text[after..].trim_start().len();
        let start = after + space;
        if text[start..].starts_with('{') {
            let len = braced(&text[start..])?;
            found.push(Boxed { inner: text[start + 1..start + len - 1].trim(), at: (at, start + len) });
            from = start + len;
        } else {
            // \boxed 5
            let len = text[start..].find(|c: char| c.is_whitespace() || c == '$').unwrap_or(text.len() - start);
            let inner = text[start..start + len].trim_end_matches(['.', ',']);
            if space > 0 && !inner.is_empty() {
                found.push(Boxed { inner, at: (at, start + len) });
            }
            from = start + len;
        }
    }
    Some(found)
}

/// The length of the group at the start of a text, including its braces. Escaped braces do not count.
fn braced(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0usize, false);
    for (i, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(i + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// True if the text before on the same line starts a comment: `%` of TeX, `<!--` of HTML.
fn is_comment(before: &str) -> bool {
    // Checks only the end of a long line, so that the search for many boxes stays linear.
    let end = tail_of(before, 200);
    let (line, whole) = match end.rfind('\n') {
        Some(at) => (&end[at + 1..], true),
        None => (end, end.len() == before.len()),
    };
    let html = line.rfind("<!--").is_some_and(|at| !line[at..].contains("-->"));
    html || whole && line.trim_start().starts_with("% ") || line.contains(" % ")
}

/// The last box, together with the boxes right before it that belong to the same answer.
pub(super) fn from_boxes(text: &str) -> Option<Extracted> {
    let boxes: Vec<Boxed<'_>> = boxes(text)?;
    let last = boxes.last()?;
    if denied_before(&text[..last.at.0]) || denied_after(&text[last.at.1..]) {
        return None;
    }
    let mut first = boxes.len() - 1;
    let mut alternatives = false;
    while first > 0 && boxes.len() - first < MAX_BOXES {
        let gap = &text[boxes[first - 1].at.1..boxes[first].at.0];
        if !is_joint(gap) {
            break;
        }
        alternatives |= words(gap).any(|w| w == "or");
        first -= 1;
    }
    let spans: Vec<(usize, usize)> = boxes[first..].iter().map(|b| b.at).collect();
    let own = match spans[..] {
        [(start, end)] => affixes(&text[..start], &text[end..])?,
        _ => affixes_of_list(text, &spans)?,
    };
    let value = with_affixes(unannounced(last.inner), &own);
    let several = (first + 1 < boxes.len()).then(|| {
        let inner: Vec<&str> = boxes[first..].iter().map(|b| b.inner).collect();
        inner.join(if alternatives { " \\text{ or } " } else { ", " })
    });
    let text = if alternatives { several.clone().unwrap_or_default() } else { value };
    Some(Extracted { text, boxes: several, marker: Marker::Box })
}

/// True if the text between two boxes joins them to one answer: nothing, a comma, "and", "or".
fn is_joint(gap: &str) -> bool {
    if gap.len() > BETWEEN_BOXES {
        return false;
    }
    let bare = gap.replace(['$', '.'], "").replace("\\(", "").replace("\\)", "").replace("\\quad", "");
    bare.trim().is_empty()
        || gap.trim_start_matches(['$', ' ', '\\', ')', ']']).starts_with([',', ';'])
        || words(gap).any(|w| matches!(w.as_str(), "and" | "or"))
}

/// The content of a box without words that announce it: `\text{The answer is }5`.
fn unannounced(inner: &str) -> &str {
    let Some(text) = inner.strip_prefix("\\text{") else { return inner };
    let Some((said, value)) = text.split_once('}') else { return inner };
    let said = said.trim().trim_end_matches(':').trim_end().to_ascii_lowercase();
    let words: Vec<&str> = said.split_whitespace().collect();
    let noun = words.iter().any(|w| ["answer", "result", "solution"].contains(w));
    let plain = ["the", "final", "answer", "result", "solution", "is", "so", "thus", "therefore", "hence"];
    let announces = noun && words.iter().all(|w| plain.contains(w)) && !value.trim().is_empty();
    if announces { value.trim() } else { inner }
}

/// A value with the currency and unit next to its box, unless it has its own or is not a number.
fn with_affixes(inner: &str, affixes: &Affixes) -> String {
    let percent = affixes.after == "\\%";
    let already = inner.trim_end().ends_with('%') || inner.contains("percent");
    if percent && already || reading::is_quantity_text(inner) {
        return inner.to_owned();
    }
    let value = format!("{}{inner}{}", affixes.before, affixes.after);
    let whole = affixes.before.is_empty() && affixes.after.is_empty();
    if percent || whole || reading::reads_value(&value) { value } else { inner.to_owned() }
}
