//! Finds the final answer in a response.
//!
//! In this order: the one pair of `<answer>` tags; the last `\boxed{…}`; what follows "answer is", "Answer:", `####` and
//! their kin; the whole response if it is nothing but an answer; the last formula between `$`, `\(` or `\[`; the last
//! number. Only what stands after the reasoning counts. Every pass over the text is linear.

/// How an answer was marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Marker {
    /// Between `<answer>` and `</answer>`.
    Tags,
    /// In `\boxed{…}` or `\fbox{…}`.
    Box,
    /// After "answer is" and the like.
    Phrase,
    /// Not at all: the response is the answer, or ends with it.
    None,
}

/// The answer of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// The answer, as it is written.
    pub text: String,
    /// The answers of all boxes that belong together, if there are several.
    pub boxes: Option<String>,
    /// How it was marked.
    pub marker: Marker,
}

/// How much of the end of a response is searched for unmarked answers and phrases, in bytes.
const TAIL: usize = 32 << 10;
/// How far a box may stand from the one before it to belong to it, in bytes.
const BETWEEN_BOXES: usize = 100;
/// Most boxes that make one answer.
const MAX_BOXES: usize = 64;
/// How many borders of formulas may stay open before the search for formulas ends.
const MAX_OPEN: usize = 8;

/// What stands in the one pair of `<answer>` tags. Several answers are no answer: a guess in each would pay.
pub fn tagged(response: &str) -> Option<&str> {
    let (_, rest) = response.split_once("<answer>")?;
    let (answer, after) = rest.split_once("</answer>")?;
    (!answer.contains("<answer>") && !after.contains("<answer>")).then_some(answer)
}

/// The marks that models put around their thoughts.
const THOUGHTS: [(&str, &str); 8] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("◁think▷", "◁/think▷"),
];

/// The part of a response after its reasoning. `None` if it is still in a thought when it ends.
pub fn after_thinking(response: &str) -> Option<&str> {
    let mut rest = response;
    for (open, close) in THOUGHTS {
        let closed = rest.rfind(close);
        if let Some(at) = closed {
            rest = &rest[at + close.len()..];
        }
        match (rest.find(open), closed) {
            (None, _) => {}
            // A thought that never closes.
            (Some(_), None) => return None,
            (Some(at), Some(_)) => rest = &rest[..at],
        }
    }
    Some(rest)
}

/// What stands in the last `\boxed{…}`, braces matched.
pub fn boxed(text: &str) -> Option<&str> {
    boxes(text)?.last().map(|b| b.inner)
}

/// The final answer of a response, as text.
pub fn final_answer(response: &str) -> Option<String> {
    extract(response).map(|e| e.text)
}

/// The final answer of a response. `reads` tells whether a text is an answer by itself: in free text it decides where
/// the answer ends.
pub fn extract(response: &str) -> Option<Extracted> {
    let text = after_thinking(response)?;
    if text.contains("<answer>") {
        let inner = tagged(text)?;
        let found = marked(inner).unwrap_or_else(|| Extracted::plain(strip(inner)));
        return (!found.text.is_empty()).then_some(Extracted { marker: Marker::Tags, ..found });
    }
    marked(text).or_else(|| unmarked(text)).filter(|e| !e.text.trim().is_empty())
}

/// The answer of a box or a phrase.
fn marked(text: &str) -> Option<Extracted> {
    if text.contains("\\boxed") || text.contains("\\fbox") {
        return from_boxes(text);
    }
    let rest = after_phrase(tail(text))?;
    Some(Extracted { text: sentence_answer(rest)?, boxes: None, marker: Marker::Phrase })
}

impl Extracted {
    fn plain(text: &str) -> Extracted {
        Extracted { text: text.to_owned(), boxes: None, marker: Marker::None }
    }
}

/// The end of a text, which is searched for what is not in a box.
pub(super) fn tail(text: &str) -> &str {
    tail_of(text, TAIL)
}

/// A box in a text.
struct Boxed<'a> {
    inner: &'a str,
    /// Where it starts and ends.
    at: (usize, usize),
}

/// All boxes that are not in another one. `None` if one does not close.
fn boxes(text: &str) -> Option<Vec<Boxed<'_>>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find('\\').map(|i| from + i) {
        let name = ["\\boxed", "\\fbox"].into_iter().find(|n| text[at..].starts_with(n));
        let Some(name) = name else {
            from = at + 1;
            continue;
        };
        if is_comment(&text[..at]) {
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

/// The length of the group that opens a text, its braces included; escaped braces do not count.
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

/// Whether what comes before on a line makes a comment of what follows: `%` of TeX, `<!--` of HTML.
fn is_comment(before: &str) -> bool {
    let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
    // A line can be long: its end decides.
    let line = tail_of(line, 200);
    let html = line.rfind("<!--").is_some_and(|at| !line[at..].contains("-->"));
    html || line.trim_start().starts_with("% ") || line.contains(" % ")
}

/// Whether the words around an answer deny it: "not …", "… is wrong".
fn is_denied(before: &str, after: &str) -> bool {
    let before =
        tail_of(before, 40).trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '$' | '(' | '[' | '\\' | '*'));
    let before = before.to_ascii_lowercase();
    let after: String = after.chars().take(40).collect::<String>().to_ascii_lowercase();
    let after = after.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '$' | ')' | ']' | '\\' | '*'));
    let denial = ["not", "n't", "n’t", "never", "~~"];
    let verdict = ["is wrong", "is not", "is incorrect", "is false", "isn't", "is never", "was wrong", "~~"];
    denial.iter().any(|d| before.ends_with(d)) || verdict.iter().any(|v| after.starts_with(v))
}

/// At most the last `len` bytes of a text, from a character border.
fn tail_of(text: &str, len: usize) -> &str {
    let mut from = text.len().saturating_sub(len);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// The last box, with those right before it that belong to the same answer.
fn from_boxes(text: &str) -> Option<Extracted> {
    let boxes: Vec<Boxed<'_>> = boxes(text)?;
    let last = boxes.last()?;
    if is_denied(&text[..last.at.0], &text[last.at.1..]) {
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
    let value = with_percent(last.inner, &text[last.at.1..]);
    let several = (first + 1 < boxes.len()).then(|| {
        let inner: Vec<&str> = boxes[first..].iter().map(|b| b.inner).collect();
        inner.join(", ")
    });
    let text = if alternatives { several.clone().unwrap_or_default() } else { value };
    Some(Extracted { text, boxes: several, marker: Marker::Box })
}

/// Whether what stands between two boxes makes one answer of them: nothing, a comma, "and", "or".
fn is_joint(gap: &str) -> bool {
    if gap.len() > BETWEEN_BOXES {
        return false;
    }
    let bare = gap.replace(['$', '.'], "").replace("\\(", "").replace("\\)", "").replace("\\quad", "");
    bare.trim().is_empty()
        || gap.trim_start_matches(['$', ' ', '\\', ')', ']']).starts_with([',', ';'])
        || words(gap).any(|w| matches!(w.as_str(), "and" | "or"))
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()).map(str::to_lowercase)
}

/// A value with the percent sign that stands right after its box.
fn with_percent(inner: &str, after: &str) -> String {
    let after = after.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '$' | '*'));
    let after = after.strip_prefix("\\)").unwrap_or(after).trim_start();
    let word = ["\\%", "%", "percent", "pct", "\\text{ percent", "\\text{percent", "\\text{%", "\\text{\\%"];
    let already = inner.trim_end().ends_with('%') || inner.contains("percent");
    if !already && word.iter().any(|w| after.starts_with(w)) { format!("{inner}\\%") } else { inner.to_owned() }
}

/// What introduces an answer, in lower case.
const PHRASES: [&str; 26] = [
    "answer is",
    "answers are",
    "answers is",
    "answer:",
    "answer :",
    "answer**:",
    "answer：",
    "answer =",
    "answer must be",
    "solution is:",
    "final answer",
    "result is:",
    "####",
    "答案是",
    "答案为",
    "答案：",
    "答案:",
    "答案为：",
    "答案是：",
    "答案等于",
    "结果是",
    "结果为",
    "结果：",
    "答：",
    "答:",
    "故选：",
];

/// The text after the last phrase that introduces an answer; none if a word before the phrase denies it.
fn after_phrase(text: &str) -> Option<&str> {
    // Lower-casing keeps byte positions for ASCII only, which is all that is sought in it.
    let lower = text.to_ascii_lowercase();
    let (end, start) = PHRASES.iter().filter_map(|p| lower.rfind(p).map(|at| (at + p.len(), at))).max()?;
    let before = words(tail_of(&lower[..start], 40)).last();
    if before.is_some_and(|w| matches!(w.as_str(), "wrong" | "incorrect" | "false" | "not" | "no")) {
        return None;
    }
    let rest =
        text[end..].trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '：' | '*' | '_' | '#' | '='));
    let rest = rest.strip_prefix("is ").unwrap_or(rest);
    (!rest.is_empty()).then_some(rest)
}

/// The answer at the start of a text that goes on as prose.
fn sentence_answer(rest: &str) -> Option<String> {
    let rest = drop_prefix(rest);
    for word in ["minus ", "negative "] {
        let value = rest.get(..word.len()).filter(|w| w.eq_ignore_ascii_case(word)).map(|_| &rest[word.len()..]);
        if let Some(value) = value.filter(|v| v.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '$' | '\\'))) {
            return sentence_answer(value).map(|value| format!("-({value})"));
        }
    }
    let formulas = formulas(rest);
    if let Some(first) = formulas.first().filter(|f| f.outer.0 == 0) {
        let end = formulas[1..].iter().try_fold(first, |last, next| {
            if is_list_joint(&rest[last.outer.1..next.outer.0]) { Ok(next) } else { Err(last) }
        });
        let (Ok(last) | Err(last)) = end;
        let after = &rest[last.outer.1..];
        let sentence = &after[..sentence_end(after)];
        let clause = strip(sentence);
        // "$5$ cm", "$5$ or 6": what belongs to the answer.
        let more = clause.split_whitespace().count() <= 3 && !clause.is_empty() && reads_more(clause);
        let or = words(clause).next().is_some_and(|w| w == "or") && clause.contains(|c: char| c.is_ascii_digit());
        let end = if more || or { last.outer.1 + sentence.len() } else { last.outer.1 };
        return Some(strip(&rest[..end]).to_owned());
    }
    let sentence = &rest[..sentence_end(rest)];
    Some(clause(strip(sentence)).to_owned())
}

/// Whether words after a formula are its unit.
fn reads_more(clause: &str) -> bool {
    let clause = clause.trim_start_matches("\\").trim();
    clause.starts_with('%')
        || clause.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | '/' | '^' | '²' | '³' | '2' | '3' | '.'))
            && !clause.contains(char::is_uppercase)
            && super::math::is_unit(clause)
}

/// What may stand before an answer and means nothing.
fn drop_prefix(mut text: &str) -> &str {
    const PREFIXES: [&str; 14] = [
        "i think ",
        "i believe ",
        "probably ",
        "therefore ",
        "thus ",
        "simply ",
        "exactly ",
        "just ",
        "equal to ",
        "indeed ",
        "the ",
        "given by ",
        "approximately ",
        "about ",
    ];
    loop {
        let lower = text.get(..24.min(text.len())).unwrap_or(text).to_ascii_lowercase();
        match PREFIXES.iter().find(|p| lower.starts_with(**p)) {
            Some(prefix) if text.is_char_boundary(prefix.len()) => text = text[prefix.len()..].trim_start(),
            _ => return text,
        }
    }
}

/// What ends an answer and starts its explanation.
const EXPLAINS: [&str; 14] = [
    " because ",
    " since ",
    ", because ",
    ", since ",
    ", which ",
    ", so ",
    ", as ",
    ", not ",
    ", where ",
    " as ",
    " which ",
    " in total",
    " in all",
    " altogether",
];
/// What may follow a number with its unit: "12 apples in the basket". After a bare number it can change the value, as
/// in "5 in base 6".
const DESCRIBES: [&str; 8] = [" in ", " of ", " for ", " with ", " that ", " from ", " on ", " at "];

/// A sentence without the clause that explains its answer. What cannot be left out safely stays.
fn clause(sentence: &str) -> &str {
    if super::math::reads(sentence) {
        return sentence;
    }
    let cut = |marks: &'static [&'static str], fits: fn(&str) -> bool| {
        let mut cuts: Vec<usize> = marks.iter().filter_map(|c| sentence.find(c)).collect();
        cuts.sort_unstable_by(|a, b| b.cmp(a));
        cuts.into_iter().map(|at| strip(&sentence[..at])).find(|c| fits(c))
    };
    // "The largest n is 34".
    let after = || {
        let at = sentence.rfind(" is ").filter(|&at| !is_unsure(&sentence[..at]))?;
        Some(strip(&sentence[at + " is ".len()..])).filter(|c| super::math::reads_value(c))
    };
    cut(&EXPLAINS, super::math::reads)
        .or_else(|| cut(&DESCRIBES, super::math::is_quantity_text))
        .or_else(after)
        .or_else(|| lone_quantity(sentence))
        .unwrap_or(sentence)
}

/// "Jane started growing it 3 hours ago": the one number, with a unit, at the end.
fn lone_quantity(sentence: &str) -> Option<&str> {
    let start = sentence.find(|c: char| c.is_ascii_digit()).filter(|&at| at > 0)?;
    let quantity = strip(sentence[start..].trim_end_matches(" ago").trim_end_matches(" long"));
    let before = &sentence[..start];
    let plain = before.ends_with(' ') && !is_unsure(before) && !quantity.ends_with(|c: char| c.is_ascii_digit());
    (plain && super::math::is_quantity_text(quantity)).then_some(quantity)
}

/// Where the first sentence or line ends: a full stop before a space, a line's end, a control token.
fn sentence_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    for (i, b) in bytes.iter().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b'\n' if depth == 0 || bytes.get(i + 1) == Some(&b'\n') => return i,
            b'.' if depth == 0 => {
                let next = bytes.get(i + 1).copied().unwrap_or(b' ');
                let dotted = bytes.get(i + 1) == Some(&b'.') || i > 0 && bytes[i - 1] == b'.';
                if (next.is_ascii_whitespace() || matches!(next, b'*' | b'"')) && !dotted {
                    return i;
                }
            }
            b'<' if text[i..].starts_with("<|") => return i,
            0xE3 if text[i..].starts_with('。') => return i,
            _ => {}
        }
    }
    text.len()
}

/// A text without the marks around it: spaces, `**`, quotes, one pair of formula borders, a closing full stop.
pub(super) fn strip(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let mut next = text.trim_start_matches(['*', '_', '"', '“', '`']).trim_start_matches(char::is_whitespace);
        next = next.trim_end_matches(['*', '"', '”', '`', '.', '。', ',', ';', ':']).trim_end();
        for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")] {
            let inner = next.strip_prefix(open).and_then(|t| t.strip_suffix(close));
            if let Some(inner) = inner.filter(|t| !t.contains(open) && !t.contains(close)) {
                next = inner.trim();
            }
        }
        if next == text {
            return text;
        }
        text = next;
    }
}

/// A formula between its borders.
struct Formula {
    /// Where it starts and ends, borders included.
    outer: (usize, usize),
}

/// The formulas of a text: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`.
fn formulas(text: &str) -> Vec<Formula> {
    let mut found = Vec::new();
    let (mut from, mut open_borders) = (0, 0);
    let bytes = text.as_bytes();
    while from < bytes.len() && open_borders < MAX_OPEN {
        let (open, close) = match bytes[from] {
            b'$' if bytes.get(from + 1) == Some(&b'$') => ("$$", "$$"),
            b'$' => ("$", "$"),
            b'\\' if bytes.get(from + 1) == Some(&b'(') => ("\\(", "\\)"),
            b'\\' if bytes.get(from + 1) == Some(&b'[') => ("\\[", "\\]"),
            b'\\' => {
                from += 2;
                continue;
            }
            _ => {
                from += 1;
                continue;
            }
        };
        let start = from + open.len();
        let Some(end) = closing(text, start, close) else {
            from = start;
            open_borders += 1;
            continue;
        };
        found.push(Formula { outer: (from, end + close.len()) });
        from = end + close.len();
    }
    found
}

/// Where a formula's border closes: an escaped dollar does not, nor does a dollar after an empty line.
fn closing(text: &str, start: usize, close: &str) -> Option<usize> {
    if start > text.len() || !text.is_char_boundary(start) {
        return None;
    }
    let mut from = start;
    // A formula is short: the search for its end must not make the passes over the text quadratic.
    let limit = text.len().min(start + 4096);
    let window = text.as_bytes();
    while from + close.len() <= limit {
        if window[from] == b'\\' && close.starts_with('$') {
            from += 2;
            continue;
        }
        if window[from..].starts_with(close.as_bytes()) {
            return Some(from);
        }
        if window[from..].starts_with(b"\n\n") && close == "$" {
            return None;
        }
        from += 1;
    }
    None
}

/// Whether what stands between two formulas makes a list of them.
fn is_list_joint(gap: &str) -> bool {
    gap.len() < 12 && words(gap).all(|w| matches!(w.as_str(), "and" | "or")) && !gap.contains(['.', '\n', '='])
}

/// An answer without a mark.
fn unmarked(text: &str) -> Option<Extracted> {
    let text = tail(text);
    let text = text.split("<|").next().unwrap_or(text).trim();
    let text = text.trim_end_matches("I hope it is correct.").trim_end();
    let whole = strip(text);
    let short = whole.len() <= 400 && !whole.contains("\n\n");
    if short && super::math::reads(whole) {
        return Some(Extracted::plain(whole));
    }
    if let Some(answer) = last_formula(text) {
        return Some(Extracted::plain(&answer));
    }
    if let Some(answer) = last_number(text) {
        return Some(Extracted::plain(answer));
    }
    // Plain words, if there are few.
    (short && !whole.contains(['.', '\n', '?']) && whole.split_whitespace().count() <= 8)
        .then(|| Extracted::plain(whole))
}

/// Words of a sentence that gives no answer.
fn is_unsure(sentence: &str) -> bool {
    words(sentence).any(|w| {
        matches!(
            w.as_str(),
            "not"
                | "maybe"
                | "perhaps"
                | "unsure"
                | "unknown"
                | "cannot"
                | "either"
                | "t"
                | "between"
                | "guess"
                | "wrong"
                | "or"
                | "than"
                | "least"
                | "most"
                | "more"
                | "less"
                | "fewer"
                | "incorrect"
                | "never"
                | "except"
                | "but"
        )
    }) || sentence.trim_end().ends_with('?')
}

/// The last formula near the end of a text, with its neighbours of a list and its unit.
fn last_formula(text: &str) -> Option<String> {
    let formulas = formulas(text);
    let last = formulas.last()?;
    let after = &text[last.outer.1..];
    let mut first = formulas.len() - 1;
    while first > 0 && is_list_joint(&text[formulas[first - 1].outer.1..formulas[first].outer.0]) {
        first -= 1;
    }
    let before = &text[..formulas[first].outer.0];
    let sentence = before.rsplit(['\n']).next().unwrap_or(before).rsplit(". ").next().unwrap_or(before);
    let numbered = after.contains(|c: char| c.is_ascii_digit());
    if after.len() > 120 || numbered || is_unsure(sentence) || is_unsure(after) {
        return None;
    }
    let end = last.outer.1 + sentence_end(after);
    let clause = strip(&text[last.outer.1..end]);
    let end = if !clause.is_empty() && reads_more(clause) { end } else { last.outer.1 };
    Some(strip(&text[formulas[first].outer.0..end]).to_owned())
}

/// The last number of a text, in its last sentence or near its end: not one of several, not part of a word.
fn last_number(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let part = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b',' | b'/');
    let mut start = end;
    while start > 0 && part(bytes[start - 1]) {
        start -= 1;
    }
    while start < end && !bytes[start].is_ascii_digit() && bytes[start] != b'.' {
        start += 1;
    }
    let before = &text[..start];
    let sign = before.ends_with('-') && !before[..start - 1].ends_with(|c: char| c.is_alphanumeric() || c == ')');
    let glued = before.ends_with(|c: char| c.is_alphabetic() || matches!(c, '^' | '_' | '{' | '\\'));
    let sentence = before.rsplit(['\n', '?', '!']).next().unwrap_or(before);
    let sentence = sentence.rsplit(". ").next().unwrap_or(sentence);
    let listed = words(sentence).last().is_some_and(|w| matches!(w.as_str(), "or" | "and" | "to" | "than"))
        && before.trim_end().ends_with(|c: char| c.is_alphabetic());
    let after = &text[end..];
    // Units may follow: a percent sign, a currency, letters.
    let unsure = after.len() > 120 || is_unsure(after) || is_doubtful(sentence);
    if glued || listed || unsure {
        return None;
    }
    let percent = after.trim_start();
    let end = if percent.starts_with('%') { end + after.len() - percent.len() + 1 } else { end };
    let word = ["percent", "pct"].into_iter().find(|w| percent.starts_with(w));
    let end = word.map_or(end, |w| end + after.len() - percent.len() + w.len());
    Some(&text[start - usize::from(sign)..end])
}

/// As [`is_unsure`], but "not 10, it is 12" is sure of 12.
fn is_doubtful(sentence: &str) -> bool {
    let last = sentence.rsplit(|c: char| c.is_ascii_digit()).next().unwrap_or(sentence);
    is_unsure(last)
}
