//! The text before a box, in its formula or its sentence.

use super::tex::{FONTS, command_at_end, trim_spacing_end};

/// Commands after which a new side starts.
pub(super) const RELATIONS: [&str; 27] = [
    "n",
    "implies",
    "Rightarrow",
    "Longrightarrow",
    "rightarrow",
    "longrightarrow",
    "to",
    "therefore",
    "approx",
    "equiv",
    "cong",
    "colon",
    "in",
    "iff",
    "Leftrightarrow",
    "Longleftrightarrow",
    "simeq",
    "triangleq",
    "coloneqq",
    "doteq",
    "hline",
    "newline",
    "item",
    "par",
    "noindent",
    "bf",
    "rm",
];

/// `Some` if a box after this part of a formula can be a whole side.
pub(super) fn formula_before(side: &str) -> Option<()> {
    if let Some(name) = command_at_end(side) {
        return RELATIONS.contains(&name).then_some(());
    }
    let last = side.chars().next_back()?;
    let rest = &side[..side.len() - last.len_utf8()];
    let fits = match last {
        '=' => !rest.ends_with(['!', '<', '>', '/']) && !rest.ends_with("\\not"),
        '≈' | '→' | '⇒' | '∴' | '≡' | '∈' => true,
        '>' => rest.ends_with(['=', '-']),
        ':' | '：' => !rest.trim_end().ends_with(|c: char| c.is_ascii_digit() || c == '}' && !ends_with_words(rest)),
        ',' | ';' => rest.contains('=') || ends_with_words(rest),
        '.' => !rest.ends_with(|c: char| c.is_ascii_digit()) || side.len() < 3,
        '}' => ends_with_words(side) || ends_with_mark(side),
        c if c.is_alphabetic() => word_before(side, true),
        _ => false,
    };
    fits.then_some(())
}

/// The group at the end of a text: its command and content.
pub(super) fn group_at_end(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_suffix('}')?;
    let open = inner.rfind('{')?;
    Some((command_at_end(&inner[..open])?, &inner[open + 1..]))
}

/// True if a text ends with `\text{words}` and the words keep the value.
fn ends_with_words(text: &str) -> bool {
    let text = trim_spacing_end(text);
    group_at_end(text).is_some_and(|(name, inner)| {
        FONTS.contains(&name) && prose_before(&format!("{} ", trim_spacing_end(inner)), "").is_some()
    })
}

/// True if a text ends with a command that prints nothing of a value.
fn ends_with_mark(text: &str) -> bool {
    let marks = ["begin", "end", "hspace", "vspace", "label", "tag", "color", "section", "subsection", "phantom"];
    group_at_end(text).is_some_and(|(name, _)| marks.contains(&name))
}

/// Words before an amount that change the amount.
const CHANGES_BEFORE: [&str; 28] = [
    "least",
    "most",
    "than",
    "over",
    "above",
    "below",
    "under",
    "minus",
    "negative",
    "plus",
    "half",
    "twice",
    "thrice",
    "log",
    "ln",
    "sin",
    "cos",
    "tan",
    "sqrt",
    "exp",
    "exceeds",
    "exceeding",
    "times",
    "within",
    "up",
    "beyond",
    "outside",
    "opposite",
];

/// True if a box after the last word of a text can be a whole value.
fn word_before(text: &str, math: bool) -> bool {
    let start = text
        .rfind(|c: char| !c.is_alphabetic())
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let word = text[start..].to_lowercase();
    let before = text[..start].trim_end();
    if CHANGES_BEFORE.contains(&word.as_str()) || word == "to" && before.to_lowercase().ends_with(" up") {
        return false;
    }
    // "6 or 5" is a guess; "1/5, or 20 percent" states one value twice.
    if word == "or" {
        return !before.ends_with(|c: char| c.is_ascii_digit() || matches!(c, '}' | '$' | ')'));
    }
    let short = ["is", "so", "to", "of", "be", "by", "at", "in", "are", "as", "an", "we", "if", "on"];
    !word.is_ascii() || word.len() >= 3 || short.contains(&word.as_str()) || !math
}

/// `Some` if a box after this prose can be a whole value.
pub(super) fn prose_before(side: &str, after: &str) -> Option<()> {
    let text = trim_spacing_end(side);
    let touches = text.len() == side.len() && !side.is_empty();
    if command_at_end(text).is_some() {
        return formula_before(text);
    }
    let Some(last) = text.chars().next_back() else { return Some(()) };
    let rest = &text[..text.len() - last.len_utf8()];
    // "(3, " opens a pair, "(so " a remark.
    let opened = text.rfind(['(', '[']).map(|at| &text[at + 1..]).filter(|inner| !inner.contains([')', ']']));
    if opened.is_some_and(|inner| !inner.split(|c: char| !c.is_alphabetic()).any(|w| w.chars().count() > 1)) {
        return None;
    }
    let line_start = rest.trim().is_empty();
    let word = rest.trim_end().ends_with(|c: char| c.is_alphabetic() || c == '*');
    let fits = match last {
        '-' | '–' | '—' => !touches && (line_start || word && rest.ends_with(' ')) || rest.ends_with('-'),
        '*' => line_start || rest.ends_with('*'),
        '+' => !touches && line_start,
        '>' => line_start || rest.ends_with(['=', '-', '|']) || rest.contains('<'),
        '_' | '^' | '/' | '<' | '\\' | '(' | '[' | '{' => false,
        '|' => after.contains('|') && rest.contains('|'),
        '$' => !rest.ends_with(|c: char| is_operator(c) || matches!(c, '-' | '*' | '/' | '<' | '>' | '^' | '\\')),
        ')' | ']' => !touches || rest.ends_with('\\'),
        ':' | '：' if !touches => true,
        '=' | '}' | ',' | ';' | ':' | '：' => {
            formula_before(text).is_some()
                || matches!(last, ',' | ';')
                || last == '}' && !touches && !rest.contains(['^', '\\'])
        }
        '.' => !touches || !rest.ends_with(|c: char| c.is_ascii_digit()),
        c if c.is_alphabetic() => word_before(text, touches),
        c if c.is_ascii_digit() => false,
        c => !is_operator(c),
    };
    fits.then_some(())
}

pub(super) fn is_operator(c: char) -> bool {
    "×÷·⋅±∓−√∛∜∞≤≥≠<>²³¹½⅓¼¾′∉¬∑∏∫+".contains(c) || ('⁰'..='ⁿ').contains(&c) || ('α'..='ω').contains(&c)
}
