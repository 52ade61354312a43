//! Multiple choice: finds the letter of the answer.

use super::extract::denial::{denied_before, has_denial_or_doubt, retracted};
use super::extract::{Marker, after_thinking, extract, strip, tail};
use super::judgement::{Judgement, Verdict};

/// Judges a response against the letter of the right choice.
pub fn judge(reference: &str, response: &str, truncated: bool) -> Judgement {
    let reference = reference.trim();
    let chosen = letter(response);
    let (verdict, reason) = match chosen {
        _ if truncated => (Verdict::Truncated, "the response ran into the length limit".to_owned()),
        None => (Verdict::Unparsable, "no single letter is chosen".to_owned()),
        Some(letter) if letter.to_string() == reference => (Verdict::Right, "equal".to_owned()),
        Some(letter) => (Verdict::Wrong, format!("{letter} is not {reference}")),
    };
    let found = extract(response);
    Judgement {
        verdict,
        extracted: found.as_ref().map(|f| f.text.clone()),
        marker: found.map(|f| f.marker),
        gold: vec![reference.to_owned()],
        response: chosen.map(String::from).into_iter().collect(),
        reason,
    }
}

/// Phrases that introduce a choice, in lower case.
const PHRASES: [&str; 16] = [
    "option is",
    "choice is",
    "answer choice",
    "choose",
    "option:",
    "choice:",
    "select",
    "go with",
    "going with",
    "pick",
    "选项是",
    "选项",
    "故选",
    "应选",
    "答案选",
    "选",
];

/// The letter, A to J, that a response chooses. Several letters count as no choice.
pub fn letter(response: &str) -> Option<char> {
    let text = tail(after_thinking(response)?);
    if let Some(found) = extract(response).filter(|f| f.marker != Marker::None) {
        return chosen(&found.text);
    }
    let lower = text.to_ascii_lowercase();
    let phrase = PHRASES.iter().filter_map(|p| lower.rfind(p).map(|i| (i + p.len(), i))).max();
    if phrase.is_some_and(|(end, start)| denied_before(&text[..start]) || retracted(&text[end..])) {
        return None;
    }
    // "The correct option is C."
    if let Some(letter) = phrase.and_then(|(at, _)| chosen(text[at..].lines().next()?.split(". ").next()?)) {
        return Some(letter);
    }
    if let Some(letter) = explained(text) {
        return Some(letter);
    }
    let mut lines = text.trim().lines().rev().filter(|line| !line.trim().is_empty());
    let last = lines.next()?;
    // The last letter of a list of options is not a choice.
    let listed = lines.next().is_some_and(|line| label(line).is_some());
    if let Some(letter) = label(last) {
        return if listed { None } else { chosen(last).filter(|&c| c == letter) };
    }
    if strip(last).len() <= 16 {
        return chosen(last);
    }
    let sentence = last.rsplit(". ").next().unwrap_or(last);
    let sentence = sentence.rsplit("; ").next().unwrap_or(sentence);
    let lower = sentence.to_ascii_lowercase();
    // "A, B and D are wrong, so C".
    let concludes = CONCLUSIONS.iter().filter_map(|w| lower.rfind(w).map(|at| at + w.len())).max();
    if let Some(letter) = concludes.and_then(|at| chosen(sentence.get(at..).filter(|rest| rest.len() <= 40)?)) {
        return Some(letter);
    }
    let says = ["correct", "right", "answer", "option", "choice"].iter().any(|word| lower.contains(word));
    if says && sentence.len() < 120 { chosen(sentence) } else { None }
}

/// A letter on the first line, followed by its explanation.
fn explained(text: &str) -> Option<char> {
    let (first, rest) = text.trim().split_once('\n')?;
    let bare = without_markup(first);
    let bare = bare.trim_matches(|c: char| matches!(c, '(' | ')' | '[' | ']' | '.' | ' '));
    let letter = as_letter(bare.chars().next()?).filter(|_| bare.len() == 1)?;
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '_' | '#'));
    let word: String = rest.chars().take_while(|c| c.is_alphabetic()).collect();
    let explains = ["because", "since", "explanation", "reason", "reasoning", "as", "this"];
    (explains.contains(&word.to_lowercase().as_str()) && !retracted(rest)).then_some(letter)
}

/// Phrases that introduce the remaining choice.
const CONCLUSIONS: [&str; 7] = [", so ", "therefore ", "thus ", "hence ", "leaving ", "leaves ", "must be "];

/// The letter before `.` or `)` at the start of a line, as in "(C) Paris".
fn label(line: &str) -> Option<char> {
    let text = without_markup(line);
    let found = letters(&text);
    let first = found.first()?;
    (first.at <= 1 && first.labelled && text.len() > first.at + 2).then_some(first.letter)
}

/// The single letter that a short text chooses.
fn chosen(text: &str) -> Option<char> {
    let text = without_markup(text);
    let text = text.trim().trim_start_matches([':', '：']).trim();
    // A letter alone, in any case: "b", "(b)".
    let bare = text.trim_matches(|c: char| matches!(c, '(' | ')' | '[' | ']' | '.' | ':' | ' ' | '。'));
    if bare.chars().count() == 1 {
        return as_letter(bare.chars().next()?.to_ascii_uppercase());
    }
    let text = without_reason(text);
    let text = without_excluded(text);
    if is_denied(&text) {
        return None;
    }
    let found = letters(&text);
    let first = found.first()?;
    // "C. Paris", "(C) Paris": a label with its text; but not "A) B) C)".
    if first.at <= 1 && first.labelled && !found.iter().skip(1).any(|f| f.labelled || f.joined) {
        return Some(first.letter);
    }
    // Otherwise, a letter next to mathematical signs is not a choice.
    let plain = !text.contains(['^', '_', '!', '=', '+', '|', '\\', '/', '<', '>', '~']);
    let lead = text.char_indices().nth(first.at).is_some_and(|(byte, _)| is_lead(&text[..byte]));
    (plain && lead && found.iter().all(|f| f.letter == first.letter)).then_some(first.letter)
}

/// Removes fonts, TeX spaces and braces; converts full-width letters to ASCII.
fn without_markup(text: &str) -> String {
    let full_width =
        |c: char| if ('Ａ'..='Ｊ').contains(&c) { char::from(b'A' + (c as u32 - 'Ａ' as u32) as u8) } else { c };
    let mut text: String = text.chars().map(full_width).collect();
    for markup in [
        "textbf",
        "textrm",
        "textit",
        "textsf",
        "text",
        "mathrm",
        "mathbf",
        "mathsf",
        "boxed",
        "rm",
        "bf",
        "left",
        "right",
        "quad",
        "displaystyle",
    ] {
        text = text.replace(&format!("\\{markup}{{"), "{");
        text = text.replace(&format!("\\{markup} "), " ");
    }
    let text = text.replace("\\left", "").replace("\\right", "").replace("\\ ", " ").replace("\\,", " ");
    let text = if text.contains("~~") { text } else { text.replace('~', " ") };
    let text = text.replace("__", " ");
    let text = text.replace(['{', '}', '$', '*', '"', '`', '“', '”', '‘'], " ");
    let text = text.trim();
    let quoted = text.strip_prefix('\'').and_then(|t| t.strip_suffix(['\'', '’']));
    quoted.unwrap_or(text).trim().to_owned()
}

/// Removes the reason from "C because A is wrong".
fn without_reason(text: &str) -> &str {
    let end = [" because ", ", since ", " since ", ", as "].iter().filter_map(|mark| text.find(mark)).min();
    &text[..end.unwrap_or(text.len())]
}

/// Removes the excluded letter from "not A but B" and "B, not A".
fn without_excluded(text: &str) -> String {
    if let Some(at) = text.find("not ")
        && let Some(but) = text[at..].find(" but ")
    {
        return format!("{}{}", &text[..at], &text[at + but + " but ".len()..]);
    }
    let end = [", not ", " rather than ", " instead of "].iter().filter_map(|mark| text.find(mark)).min();
    text[..end.unwrap_or(text.len())].to_owned()
}

/// True if a text rules out, doubts or negates the letter in it.
fn is_denied(text: &str) -> bool {
    let lower = text.to_lowercase();
    has_denial_or_doubt(&lower)
        || lower.split(|c: char| !c.is_alphabetic()).any(|w| matches!(w, "but" | "other" | "anything"))
        || lower.contains(['不', '非', '?', '？', '~'])
        // "would be C if x were positive".
        || lower.contains("would") && (lower.contains(" if ") || lower.contains(" were "))
}

/// Words right before a chosen letter. "Vitamin C" names something else.
const LEADS: [&str; 30] = [
    "is",
    "be",
    "was",
    "answer",
    "option",
    "choice",
    "letter",
    "choose",
    "chose",
    "chosen",
    "select",
    "selected",
    "pick",
    "picked",
    "so",
    "therefore",
    "thus",
    "hence",
    "it's",
    "that's",
    "namely",
    "with",
    "say",
    "exactly",
    "just",
    "only",
    "clearly",
    "correct",
    "final",
    "ans",
];

/// True if the words before a letter allow it to be a choice.
fn is_lead(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | ':' | ',' | '.')).find(|w| !w.is_empty());
    word.is_none_or(|w| !w.is_ascii() || LEADS.contains(&w.to_ascii_lowercase().trim_matches(['\'', '[', ']'])))
}

fn as_letter(c: char) -> Option<char> {
    ('A'..='J').contains(&c).then_some(c)
}

/// True if the word after a letter continues a sentence about a choice. "C major" and "A cat" name something else.
fn continues_choice(letter: char, next: &str) -> bool {
    const JOINS: [&str; 12] = ["or", "and", "because", "since", "as", "is", "but", "not", "with", "for", "if", "which"];
    const GOES_ON: [&str; 38] = [
        "was",
        "has",
        "had",
        "can",
        "could",
        "must",
        "may",
        "might",
        "will",
        "would",
        "should",
        "does",
        "did",
        "by",
        "due",
        "in",
        "on",
        "to",
        "from",
        "at",
        "of",
        "so",
        "then",
        "while",
        "when",
        "where",
        "given",
        "only",
        "alone",
        "also",
        "here",
        "correctly",
        "best",
        "based",
        "over",
        "rather",
        "instead",
        "that",
    ];
    let verb = next.len() > 3 && next.ends_with('s');
    JOINS.contains(&next) || !matches!(letter, 'A' | 'I') && (verb || GOES_ON.contains(&next))
}

/// A single letter in a text.
struct Found {
    letter: char,
    at: usize,
    /// True if `.`, `)` or `:` follows.
    labelled: bool,
    /// True if "or", "and" or a comma precedes.
    joined: bool,
}

/// Finds single capital letters A to J, except the article "A" and the pronoun "I".
fn letters(text: &str) -> Vec<Found> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let at = |i: usize| chars.get(i).map(|c| c.1);
    let mut found = Vec::new();
    for (i, &(byte, c)) in chars.iter().enumerate() {
        let alone =
            !i.checked_sub(1).and_then(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, '\'' | '-' | '°'))
                && !at(i + 1)
                    .is_some_and(|c| c.is_alphanumeric() || matches!(c, '\'' | '’' | '-' | '#' | '+' | '♯' | '♭'));
        let Some(letter) = as_letter(c).filter(|_| alone) else { continue };
        let next: String =
            text[byte + 1..].chars().skip_while(|c| *c == ' ').take_while(|c| c.is_alphabetic()).collect();
        let word = at(i + 1) == Some(' ') && next.chars().next().is_some_and(char::is_lowercase);
        if word && !continues_choice(letter, &next) {
            continue;
        }
        let before = text[..byte].trim_end();
        let joined = before.ends_with([',', '/', '&']) || before.ends_with(" or") || before.ends_with(" and");
        let labelled = matches!(at(i + 1), Some('.' | ')' | ':' | ']'));
        found.push(Found { letter, at: i, labelled, joined });
    }
    found
}

#[cfg(test)]
mod tests;
